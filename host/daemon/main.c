// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memleased: reads the command line, climbs the ladder of things to set up, runs
 * the event loop, and comes down the same way. Holds no logic of lending.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../base/porter.h"
#include "../base/priority.h"
#include "../base/terms.h"
#include "../base/version.h"
#include "../ctl/ctl.h"
#include "../ctl/sockets.h"
#include "../pool/reserved.h"
#include "../pool/reserved_host.h"
#include "../pool/reserved_ranges.h"
#include "config.h"
#include "examine.h"
#include "keep.h"
#include "notify.h"
#include "places.h"
#include "plan_file.h"
#include "sandbox.h"
#include "store.h"

#define DESCRIPTORS_MAX 65536	/* a dozen per VM and some */
#define DESCRIPTORS_FEW 1024
#define PORTER_FINISH_MS 2000
#define STATUS_EVERY_NS 10000000000ULL

struct daemon {
	struct config config;
	int lock_fd;
	struct store_inherited inherited;
	struct plan_file plan_file;
	struct plans *plans;
	struct ctl_notices notices;	/* what of the start on somebody has to see to */
	struct backend *backend;	/* opened, and not yet the lender's */
	struct lender *lender;
	sd_event *event;
	struct vhost_server *vhost;
	struct ctl_server *ctl;
	sd_event_source *tick;
	sd_event_source *work;
	char vm_dir[PATH_MAX + 8];
	uint64_t next_status_ns;
};

static void on_lend_event(void *ctx, const struct lend_event *event)
{
	struct daemon *d = ctx;

	ctl_keep_lend_event(&d->notices, event, &ml_clock_real);
	ctl_lend_event(d->ctl, event);
}

static void tell_status(struct daemon *d)
{
	uint64_t now = ml_boot_ns(&ml_clock_real);
	struct pool_status pool;

	if (now < d->next_status_ns)
		return;
	d->next_status_ns = now + STATUS_EVERY_NS;
	lender_status(d->lender, &pool);
	notify_say("STATUS=%llu of %llu blocks lent to %zu VMs%s%s",
		   (unsigned long long)pool.lent_blocks, (unsigned long long)pool.pool_blocks, pool.vms,
		   pool.waiting ? "; touches wait" : "", pool.ledger_behind ? "; ledger behind" : "");
}

static int on_tick(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct daemon *d = ctx;

	(void)source;
	(void)usec;
	lender_tick(d->lender);
	ml_porter_catch_up();
	tell_status(d);
	return 0;
}

static int on_work(sd_event_source *source, void *ctx)
{
	struct daemon *d = ctx;

	(void)source;
	d->work = sd_event_source_disable_unref(d->work);
	lender_work(d->lender);
	return 0;
}

/*
 * Before every wait: the lender may have moved its next tick while it was asked for
 * something, and may have left work. A source of its own for each slice: so it queues
 * behind what came in meanwhile.
 */
static int prepare_tick(sd_event_source *source, void *ctx)
{
	struct daemon *d = ctx;
	int ret = sd_event_source_set_time(source, lender_next_tick_boot_ns(d->lender) / 1000 + 1);

	if (ret >= 0 && !d->work && lender_has_work(d->lender))
		ret = sd_event_add_defer(d->event, &d->work, on_work, d);
	return ret < 0 ? ret : sd_event_source_set_enabled(source, SD_EVENT_ON);
}

static int load_plans(struct daemon *d)
{
	int ret = plan_file_start(&d->plan_file, &d->config, &d->plans);

	if (!ret && d->plan_file.trouble.text[0])
		ctl_set_plans(NULL, d->plans, &d->notices, d->plan_file.trouble.text, &ml_clock_real);
	return ret;
}

/* Read again what can be changed while the daemon runs: the plans. */
static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *ctx)
{
	struct daemon *d = ctx;
	int ret = plan_file_again(&d->plan_file, &d->config, &d->plans);

	(void)source, (void)info;
	ctl_set_plans(d->ctl, d->plans, &d->notices, ret ? d->plan_file.trouble.text : NULL,
		      &ml_clock_real);
	if (!ret)
		plan_file_keep(&d->plan_file, &d->config);
	return 0;
}

static int on_porter_ended(sd_event_source *source, int fd, uint32_t events, void *ctx)
{
	(void)fd, (void)events, (void)ctx;
	ml_err("the process that receives and closes the descriptors of others has ended");
	return sd_event_exit(sd_event_source_get_event(source), -EPIPE);
}

static int watch_porter(struct daemon *d)
{
	return sd_event_add_io(d->event, NULL, ml_porter_pidfd(), EPOLLIN, on_porter_ended, d);
}

static int set_up_event(struct daemon *d)
{
	static const int ending[] = { SIGTERM, SIGINT };
	sigset_t set;
	size_t i;
	int ret;

	signal(SIGPIPE, SIG_IGN);
	/* Of a lease that is broken while backend_file.c holds one. */
	signal(SIGIO, SIG_IGN);
	sigemptyset(&set);
	for (i = 0; i < sizeof(ending) / sizeof(ending[0]); i++)
		sigaddset(&set, ending[i]);
	/* Before any thread is there, so that all of them inherit it. */
	sigprocmask(SIG_BLOCK, &set, NULL);
	ret = sd_event_default(&d->event);
	for (i = 0; ret >= 0 && i < sizeof(ending) / sizeof(ending[0]); i++)
		ret = sd_event_add_signal(d->event, NULL, ending[i], NULL, NULL);
	/* Blocked since main(): one that comes before there are plans waits for the loop. */
	if (ret >= 0)
		ret = sd_event_add_signal(d->event, NULL, SIGHUP, on_hangup, d);
	if (ret >= 0)
		ret = notify_watch(d->event);
	if (ret >= 0)
		ret = watch_porter(d);
	if (ret < 0)
		ml_err("event loop: %s", strerror(-ret));
	return ret < 0 ? ret : 0;
}

static int on_source(sd_event_source *source, int fd, uint32_t events, void *ctx)
{
	struct daemon *d = ctx;

	(void)source, (void)fd, (void)events;
	lender_events(d->lender);
	return 0;
}

/* Watch the descriptors on which the source of memory, if it is the host module, reports touches. */
static int watch_source(struct daemon *d)
{
	int fds[2], n = lender_event_fds(d->lender, fds), ret = 0;

	for (int i = 0; i < n && ret >= 0; i++)
		ret = sd_event_add_io(d->event, NULL, fds[i], EPOLLIN, on_source, d);
	if (ret < 0)
		ml_err("the source of memory cannot be watched: %s", strerror(-ret));
	return ret < 0 ? ret : 0;
}

static int set_up_lender(struct daemon *d)
{
	int ret;
	struct lender_config config = {
		.state_dir = d->config.state_dir,
		.pool_dir = d->config.pool_dir,
		.ledger_path = d->config.ledger,
		.backend = d->backend,
		.zero_threads = d->config.zero_threads,
		.zero_bytes_per_s = d->config.zero_bytes_per_s,
		.pool_blocks = d->config.pool_blocks,
		.overbook_percent = d->config.overbook_percent,
		.start_timeout_ms = d->config.start_timeout_s * 1000ULL,
		.period_s = d->config.period_s,
		.clock = &ml_clock_real,
	};
	struct lend_hooks hooks = {
		.served = vhost_on_served,
		.config_changed = vhost_on_config_changed,
		.guest_event = vhost_on_guest_event,
		.event = on_lend_event,
		.ctx = d,
	};

	d->backend = NULL;
	ret = lender_open(&d->lender, &config, &hooks);
	return ret ? ret : watch_source(d);
}

static int set_up_tick(struct daemon *d)
{
	int ret = sd_event_add_time(d->event, &d->tick, CLOCK_BOOTTIME, 0, 1000, on_tick, d);

	if (ret >= 0)
		ret = sd_event_source_set_prepare(d->tick, prepare_tick);
	return ret < 0 ? ret : 0;
}

/* The sockets of VMs, and the descriptors that a predecessor left for them. */
static int set_up_vhost(struct daemon *d)
{
	struct vhost_store store = { .store_fd = store_put, .drop_fd = store_drop };
	char path[PATH_MAX + 128];
	struct lend_vm *vm = NULL;
	int ret;

	ret = vhost_new(&d->vhost, d->event, d->lender, &store);
	if (ret)
		return ret;
	while ((vm = lend_vm_next(d->lender, vm))) {
		ret = ctl_vhost_path(d->vm_dir, lend_vm_name(vm), path, sizeof(path));
		if (!ret)
			ret = vhost_vm_listen(d->vhost, vm, path);
		/* One VM's socket is no reason to leave the others alone. */
		if (ret)
			ml_err("%s: cannot be reached at %s: %s", lend_vm_name(vm), path, strerror(-ret));
	}
	store_adopt(&d->inherited, d->lender);
	return 0;
}

static int set_up_ctl(struct daemon *d, int listen_fd)
{
	struct ctl_config config = {
		.event = d->event,
		.lender = d->lender,
		.vhost = d->vhost,
		.plans = d->plans,
		.clock = &ml_clock_real,
		.notices = &d->notices,
		.state_dir = d->config.state_dir,
		.pool_dir = d->config.pool_dir,
		.ledger_path = d->config.ledger,
		.vm_dir = d->vm_dir,
	};

	return ctl_new(&d->ctl, &config, listen_fd);
}

static void raise_descriptors(void)
{
	struct rlimit had, want;

	if (getrlimit(RLIMIT_NOFILE, &had))
		return;
	want = had;
	if (want.rlim_max < DESCRIPTORS_MAX)
		want.rlim_max = DESCRIPTORS_MAX;
	want.rlim_cur = DESCRIPTORS_MAX;
	if (!setrlimit(RLIMIT_NOFILE, &want))
		return;
	/* Without the right to raise the hard limit: as far as the hard limit. */
	had.rlim_cur = had.rlim_max < DESCRIPTORS_MAX ? had.rlim_max : DESCRIPTORS_MAX;
	if (setrlimit(RLIMIT_NOFILE, &had) || had.rlim_cur < DESCRIPTORS_FEW)
		ml_warn("only %llu open files are allowed; some ten VMs need 100 (ulimit -n, LimitNOFILE=)",
			(unsigned long long)had.rlim_cur);
}

/* The host module's memory: only root can see where it is, and open the device. */
static int set_up_reserved(struct daemon *d)
{
	const struct config *c = &d->config;
	struct reserved_setup setup = {
		.uid = c->uid, .gid = c->has_device_group ? c->device_group : c->gid,
		.mode = c->has_device_group ? 0660 : 0600, .clock = &ml_clock_real,
	};
	struct reserved_device *device;
	struct utsname host;
	int ret;

	ret = uname(&host) ? -errno : reserved_host_check("/sys", "/proc", host.release);
	if (!ret)
		ret = reserved_ranges_find(c->ranges, &setup);
	if (!ret)
		ret = reserved_device_open(&device);
	return ret ? ret : backend_reserved_open(&d->backend, &setup, device);
}

/* What takes root's rights, which are given up afterwards. */
static int set_up_places(struct daemon *d, int *listen_fd)
{
	char path[PATH_MAX + 32];
	int ret;

	ret = places_make(&d->config);
	if (!ret)
		ret = places_lock(&d->config, &d->lock_fd);
	if (!ret && d->config.reserved)
		ret = set_up_reserved(d);
	else if (!ret)
		ret = places_check_memory(&d->config);
	if (!ret && d->config.own_pool)
		ret = places_mount_pool(&d->config);
	if (ret)
		return ret;
	snprintf(d->vm_dir, sizeof(d->vm_dir), "%s/vm", d->config.run_dir);
	snprintf(path, sizeof(path), "%s/" ML_CONTROL_SOCKET, d->config.run_dir);
	*listen_fd = d->inherited.control_fd;
	if (*listen_fd < 0)
		*listen_fd = ctl_listen(path, d->config.uid,
					d->config.has_group ? d->config.group : d->config.gid);
	return *listen_fd < 0 ? *listen_fd : 0;
}

static int start_porter(void)
{
	int ret = ml_porter_start();

	if (ret)
		ml_err("the process that receives and closes the descriptors of others cannot be started: %s",
		       strerror(-ret));
	return ret;
}

static int run_loop(struct daemon *d)
{
	int listen_fd = -1, ret;
	struct pool_status pool;

	ret = store_inherit(&d->inherited);
	if (!ret)
		ret = load_plans(d);
	if (!ret)
		ret = set_up_places(d, &listen_fd);
	if (ret)
		return ret;
	/* Files made from here on, the ledger above all, are for the daemon's user only. */
	umask(0077);
	raise_descriptors();
	ml_priority_event_loop();
	ml_priority_allow_return();
	notify_open();
	ret = sandbox_drop(&d->config);
	if (!ret)
		plan_file_keep(&d->plan_file, &d->config);
	if (!ret)
		ret = start_porter();
	if (!ret)
		ret = set_up_event(d);
	if (!ret)
		ret = set_up_lender(d);
	if (!ret)
		ret = set_up_vhost(d);
	if (ret) {
		close(listen_fd);
		return ret;
	}
	ret = set_up_ctl(d, listen_fd);
	if (!ret)
		ret = set_up_tick(d);
	if (!ret)
		ret = sandbox_filter(&d->config);
	if (ret)
		return ret;
	lender_status(d->lender, &pool);
	ml_info("memleased " ML_VERSION ": %llu blocks of 2 MiB in %s, control socket %s/" ML_CONTROL_SOCKET "%s",
		(unsigned long long)pool.pool_blocks, d->config.pool_dir, d->config.run_dir,
		store_present() || d->config.reserved ? "" : "; no descriptor store");
	notify_say("READY=1");
	ret = sd_event_loop(d->event);
	notify_say("STOPPING=1");
	return ret;
}

/* Undo all of the set-up, in reverse order. VMs go on. */
static void take_down(struct daemon *d)
{
	ctl_free(d->ctl);
	d->ctl = NULL;
	vhost_free(d->vhost);
	if (d->lender)
		lender_close(d->lender);
	if (d->backend)
		d->backend->ops->free(d->backend);
	notify_close();
	sd_event_source_disable_unref(d->work);
	sd_event_source_disable_unref(d->tick);
	sd_event_unref(d->event);
	plans_free(d->plans);
	plan_file_done(&d->plan_file);
	ml_porter_finish(PORTER_FINISH_MS);
	if (d->lock_fd >= 0)
		close(d->lock_fd);
}

/* It asks for files to be read again, and ends nobody: not even a daemon that is about to start. */
static void hold_hangup(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static int mount_only(const struct config *config)
{
	int ret = config->own_pool ? places_make(config) : 0;

	if (config->reserved)
		return 0;
	if (!ret)
		ret = places_check_memory(config);
	return ret || !config->own_pool ? ret : places_mount_pool(config);
}

int main(int argc, char **argv)
{
	struct daemon d = { .lock_fd = -1 };
	int ret;

	switch (config_read(&d.config, argc, argv)) {
	case CONFIG_DONE:
		return EXIT_SUCCESS;
	case CONFIG_BAD:
		return 2;
	case CONFIG_RUN:
		break;
	}
	ml_log_set_level(d.config.log_level);
	if (d.config.check_only)
		return examine_files(&d.config) ? EXIT_FAILURE : EXIT_SUCCESS;
	if (d.config.mount_only)
		return mount_only(&d.config) ? EXIT_FAILURE : EXIT_SUCCESS;
	if (d.config.keep_index)
		return keep_run(argc, argv, d.config.keep_index);
	hold_hangup();
	ret = run_loop(&d);
	if (ret)
		ml_err("memleased ends: %s", strerror(ret < 0 ? -ret : ret));
	take_down(&d);
	return ret ? EXIT_FAILURE : EXIT_SUCCESS;
}
