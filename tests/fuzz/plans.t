#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# run-tests: spare, it computes for half a minute at idle priority
exec "$(dirname "$0")/run" plans
