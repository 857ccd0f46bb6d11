// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The module's control device: opened, mapped, called. Nothing else in host/ makes
 * these calls; tests have a device of their own instead. See reserved_device.h.
 */
#include "reserved_device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../base/log.h"

#define OPEN_TRIES 100		/* a predecessor that was killed still lets go of it */
#define OPEN_PAUSE_NS 20000000L

struct control {
	struct reserved_device base;
	void *pool;
	uint64_t pool_bytes;
	size_t rings_bytes;
};

static struct control *control_of(struct reserved_device *d)
{
	return (struct control *)d;
}

static int control_ioctl(struct reserved_device *d, unsigned long request, void *arg)
{
	int ret;

	do {
		ret = ioctl(d->fd, request, arg);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

static void *control_map_pool(struct reserved_device *d, uint64_t bytes)
{
	struct control *c = control_of(d);
	void *pool = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, d->fd,
			  (off_t)MEMLEASE_POOL_OFF_BLOCKS);

	if (pool == MAP_FAILED)
		return NULL;
	/* Huge entries, also where they are only to be had on request. */
	madvise(pool, bytes, MADV_HUGEPAGE);
	/* A child of the daemon, or its core, shall not hold tenants' memory. */
	madvise(pool, bytes, MADV_DONTFORK);
	c->pool = pool;
	c->pool_bytes = bytes;
	return pool;
}

static void control_close(struct reserved_device *d)
{
	struct control *c = control_of(d);

	if (c->pool)
		munmap(c->pool, c->pool_bytes);
	if (d->rings)
		munmap(d->rings, c->rings_bytes);
	if (d->fd >= 0)
		close(d->fd);
	free(c);
}

static int open_control(void)
{
	const struct timespec pause = { .tv_nsec = OPEN_PAUSE_NS };
	int fd = -1;

	for (int i = 0; i < OPEN_TRIES; i++) {
		fd = open(MEMLEASE_POOL_CONTROL, O_RDWR | O_CLOEXEC | O_NONBLOCK);
		if (fd >= 0 || errno != EBUSY)
			break;
		nanosleep(&pause, NULL);
	}
	return fd < 0 ? -errno : fd;
}

static const char *open_error(int err)
{
	return err == ENOENT || err == ENODEV || err == ENXIO ?
	       "the module is not loaded; load it: modprobe memlease_pool" :
	       err == EBUSY ? "another daemon has it; stop that one first" :
	       err == EPERM || err == EACCES ? "only root may open it; start as root" :
	       strerror(err);
}

int reserved_device_open(struct reserved_device **out)
{
	struct control *c = calloc(1, sizeof(*c));
	struct memlease_pool_info info = { 0 };
	void *rings = MAP_FAILED;
	int ret;

	if (!c)
		return -ENOMEM;
	c->base = (struct reserved_device){
		.windows = MEMLEASE_POOL_WINDOWS, .ioctl = control_ioctl,
		.map_pool = control_map_pool, .close = control_close,
	};
	c->base.fd = open_control();
	if (c->base.fd < 0) {
		ret = c->base.fd;
		ml_err("%s: %s", MEMLEASE_POOL_CONTROL, open_error(-ret));
		free(c);
		return ret;
	}
	ret = control_ioctl(&c->base, MEMLEASE_POOL_INFO, &info);
	if (ret == 0 && info.rings_bytes < sizeof(struct memlease_rings))
		ret = -EPROTO;
	if (ret == 0) {
		c->rings_bytes = (size_t)info.rings_bytes;
		rings = mmap(NULL, c->rings_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, c->base.fd,
			     (off_t)MEMLEASE_POOL_OFF_RINGS);
		ret = rings == MAP_FAILED ? -errno : 0;
	}
	if (ret < 0) {
		ml_err("%s: %s", MEMLEASE_POOL_CONTROL, strerror(-ret));
		control_close(&c->base);
		return ret;
	}
	c->base.rings = rings;
	*out = &c->base;
	return 0;
}
