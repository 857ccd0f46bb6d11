/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading a window as a file, which is no touch: QEMU does so for who looks at a VM from
 * outside, its monitor or a dump.
 */
#ifndef MEMLEASE_POOL_PEEK_H
#define MEMLEASE_POOL_PEEK_H

#include <linux/types.h>

struct iov_iter;
struct mlp_window;

/*
 * Copy what is in a window from `offset` on, as far as `to` and the window go: RESIDENT slots
 * as they are, all others as zeros. No slot changes, and nobody hears of it. Returns the bytes
 * copied, 0 at the window's end, or an error with none: -EIO if memory there has an error,
 * -EFAULT, -ENOMEM, -EINTR. Sleeps, with no lock held by the caller.
 */
ssize_t mlp_peek(struct mlp_window *w, loff_t offset, struct iov_iter *to);

#endif /* MEMLEASE_POOL_PEEK_H */
