// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Bill queries beside the event loop; see bill_jobs.h. The threads are there from the start: a
 * thread that is made later takes a system call (clone3) that the sandbox refuses, and the
 * kernel logs. A thread works on its job alone and on plans, which never change
 * while it uses them.
 */
#include "bill_jobs.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "../base/cleanup.h"
#include "../base/log.h"
#include "../base/priority.h"
#include "../bill/report.h"
#include "client.h"
#include "reply.h"

#define JOB_STACK_BYTES (512 << 10)

struct job {
	struct job *next;
	uint64_t client_serial;
	struct plans *plans;	/* a use of those of when it was asked */
	struct bill_filter filter;
	char tenant[LEND_NAME_MAX + 1], name[LEND_NAME_MAX + 1];
	atomic_bool give_up;	/* nobody wants it any more */
	/* Written by the thread. */
	char *text;		/* JSON of the bill, or NULL */
	int error;
	struct ml_why why;
};

struct bill_jobs {
	struct ctl_clients *clients;
	const struct ctl_config *config;
	unsigned int threads;
	pthread_t thread[BILL_JOBS_RUNNING_MAX];
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* Under lock. */
	struct job *waiting;	/* oldest first */
	struct job *running[BILL_JOBS_RUNNING_MAX];
	struct job *done;
	bool ending;
	int done_fd;
	sd_event_source *source;
};

static void job_free(struct job *job)
{
	plans_put(job->plans);
	free(job->text);
	free(job);
}

static void job_run(struct job *job, const struct ctl_config *config)
{
	bill_auto struct bill *bill = NULL;
	json_t *json;

	job->error = bill_query(config->ledger_path, job->plans, &job->filter, &bill,
				&job->why);
	if (job->error)
		return;
	json = bill_to_json(bill);
	job->text = reply_text(json);
	json_decref(json);
	if (!job->text)
		job->error = ml_refuse(&job->why, -ENOMEM, "query-bill: out of memory");
}

static struct job *next_job(struct bill_jobs *jobs)
{
	struct job *job;

	while (!jobs->ending && !jobs->waiting)
		pthread_cond_wait(&jobs->changed, &jobs->lock);
	job = jobs->ending ? NULL : jobs->waiting;
	if (job)
		jobs->waiting = job->next;
	return job;
}

static void *thread_main(void *arg)
{
	struct bill_jobs *jobs = arg;
	struct job *job, **place = jobs->running;

	ml_priority_ordinary();
	pthread_mutex_lock(&jobs->lock);
	while ((job = next_job(jobs))) {
		for (place = jobs->running; *place; place++)
			;
		*place = job;
		pthread_mutex_unlock(&jobs->lock);
		job_run(job, jobs->config);
		pthread_mutex_lock(&jobs->lock);
		*place = NULL;
		job->next = jobs->done;
		jobs->done = job;
		eventfd_write(jobs->done_fd, 1);
	}
	pthread_mutex_unlock(&jobs->lock);
	return NULL;
}

static int start_threads(struct bill_jobs *jobs)
{
	sigset_t all, before;
	pthread_attr_t attr;
	int ret = 0;

	if (pthread_attr_init(&attr))
		return -ENOMEM;
	pthread_attr_setstacksize(&attr, JOB_STACK_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (!ret && jobs->threads < BILL_JOBS_RUNNING_MAX) {
		ret = -pthread_create(&jobs->thread[jobs->threads], &attr, thread_main, jobs);
		jobs->threads += !ret;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return ret;
}

static void answer(struct bill_jobs *jobs, struct job *job)
{
	struct ctl_client *client = clients_find(jobs->clients, job->client_serial);

	if (!client)
		return;
	if (job->text)
		client_answer_later(client, job->text, NULL, NULL);
	else
		client_answer_later(client, NULL, "GenericError", job->why.text);
}

static int on_done(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	struct bill_jobs *jobs = ctx;
	struct job *job, *next;
	eventfd_t count;

	(void)source;
	(void)revents;
	eventfd_read(fd, &count);
	pthread_mutex_lock(&jobs->lock);
	job = jobs->done;
	jobs->done = NULL;
	pthread_mutex_unlock(&jobs->lock);
	for (; job; job = next) {
		next = job->next;
		answer(jobs, job);
		job_free(job);
	}
	return 0;
}

/* The client has gone: what it asked for is not computed, or not to the end. */
static void on_left(void *ctx, uint64_t serial)
{
	struct bill_jobs *jobs = ctx;
	struct job **at = &jobs->waiting, *job;

	pthread_mutex_lock(&jobs->lock);
	for (unsigned int i = 0; i < BILL_JOBS_RUNNING_MAX; i++) {
		if (jobs->running[i] && jobs->running[i]->client_serial == serial)
			atomic_store(&jobs->running[i]->give_up, true);
	}
	while ((job = *at)) {
		if (job->client_serial == serial) {
			*at = job->next;
			job_free(job);
		} else {
			at = &job->next;
		}
	}
	pthread_mutex_unlock(&jobs->lock);
}

int bill_jobs_new(struct bill_jobs **out, struct ctl_clients *clients,
		  const struct ctl_config *config)
{
	struct bill_jobs *jobs = calloc(1, sizeof(*jobs));
	int ret;

	if (!jobs)
		return -ENOMEM;
	jobs->clients = clients;
	jobs->config = config;
	pthread_mutex_init(&jobs->lock, NULL);
	pthread_cond_init(&jobs->changed, NULL);
	jobs->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = jobs->done_fd < 0 ? -errno : 0;
	if (!ret)
		ret = sd_event_add_io(config->event, &jobs->source, jobs->done_fd, EPOLLIN,
				      on_done, jobs);
	if (ret >= 0)
		ret = sd_event_source_set_priority(jobs->source, CTL_EVENT_PRIORITY);
	if (ret >= 0)
		ret = start_threads(jobs);
	if (ret < 0) {
		bill_jobs_free(jobs);
		return ret;
	}
	clients->left = on_left;
	clients->left_ctx = jobs;
	*out = jobs;
	return 0;
}

static void free_list(struct job *job)
{
	struct job *next;

	for (; job; job = next) {
		next = job->next;
		job_free(job);
	}
}

void bill_jobs_free(struct bill_jobs *jobs)
{
	if (!jobs)
		return;
	pthread_mutex_lock(&jobs->lock);
	jobs->ending = true;
	for (unsigned int i = 0; i < BILL_JOBS_RUNNING_MAX; i++) {
		if (jobs->running[i])
			atomic_store(&jobs->running[i]->give_up, true);
	}
	pthread_cond_broadcast(&jobs->changed);
	pthread_mutex_unlock(&jobs->lock);
	for (unsigned int i = 0; i < jobs->threads; i++)
		pthread_join(jobs->thread[i], NULL);
	free_list(jobs->waiting);
	free_list(jobs->done);
	jobs->clients->left = NULL;
	sd_event_source_disable_unref(jobs->source);
	if (jobs->done_fd >= 0)
		close(jobs->done_fd);
	pthread_cond_destroy(&jobs->changed);
	pthread_mutex_destroy(&jobs->lock);
	free(jobs);
}

int bill_jobs_add(struct bill_jobs *jobs, uint64_t client_serial, const struct bill_filter *filter)
{
	struct job *job = calloc(1, sizeof(*job)), **last;

	if (!job)
		return -ENOMEM;
	job->plans = plans_get(jobs->config->plans);
	job->client_serial = client_serial;
	job->filter = *filter;
	job->filter.give_up = &job->give_up;
	if (filter->tenant) {
		snprintf(job->tenant, sizeof(job->tenant), "%s", filter->tenant);
		job->filter.tenant = job->tenant;
	}
	if (filter->name) {
		snprintf(job->name, sizeof(job->name), "%s", filter->name);
		job->filter.name = job->name;
	}
	pthread_mutex_lock(&jobs->lock);
	for (last = &jobs->waiting; *last; last = &(*last)->next)
		;
	*last = job;
	pthread_cond_signal(&jobs->changed);
	pthread_mutex_unlock(&jobs->lock);
	return 0;
}
