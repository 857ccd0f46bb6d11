# SPDX-License-Identifier: GPL-2.0-or-later
"""What the VM tests are made of: a host (a daemon of its own), VMs on it with a
remote shell, samplers that count blocks without asking the daemon, and TAP."""
