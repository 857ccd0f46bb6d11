// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Bill queries beside the event loop. A job's thread works on the job alone and
 * on plans, which never change; it hands the job back through a list and an
 * eventfd. At most one job per client is there, so the queue is bounded.
 */
#include "bill_jobs.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "../base/cleanup.h"
#include "../base/log.h"
#include "../base/priority.h"
#include "server.h"

#define JOB_STACK_BYTES (512 << 10)

struct job {
	struct job *next;
	struct bill_jobs *jobs;
	uint64_t client_serial;
	struct bill_filter filter;
	char tenant[LEND_NAME_MAX + 1], name[LEND_NAME_MAX + 1];
	pthread_t thread;
	/* Written by the thread. */
	char *text;		/* JSON of the bill, or NULL */
	int error;
	char why[CTL_DESC_MAX];
};

struct bill_jobs {
	struct ctl_server *server;
	struct job *waiting;	/* event loop's only; oldest first */
	unsigned int running;
	pthread_mutex_t lock;
	struct job *done;	/* under lock */
	int done_fd;
	sd_event_source *source;
};

static void job_free(struct job *job)
{
	free(job->text);
	free(job);
}

static void *job_main(void *arg)
{
	struct job *job = arg;
	struct bill_jobs *jobs = job->jobs;
	const struct ctl_config *config = &jobs->server->config;
	bill_auto struct bill *bill = NULL;
	json_t *json;

	ml_priority_ordinary();
	job->error = bill_query(config->ledger_path, config->plans, &job->filter, &bill, job->why,
				sizeof(job->why));
	if (!job->error) {
		json = bill_to_json(bill);
		job->text = json ? json_dumps(json, 0) : NULL;
		json_decref(json);
		if (!job->text) {
			job->error = -ENOMEM;
			snprintf(job->why, sizeof(job->why), "query-bill: out of memory");
		}
	}
	pthread_mutex_lock(&jobs->lock);
	job->next = jobs->done;
	jobs->done = job;
	pthread_mutex_unlock(&jobs->lock);
	eventfd_write(jobs->done_fd, 1);
	return NULL;
}

static int start(struct job *job)
{
	pthread_attr_t attr;
	int ret;

	if (pthread_attr_init(&attr))
		return -ENOMEM;
	pthread_attr_setstacksize(&attr, JOB_STACK_BYTES);
	ret = -pthread_create(&job->thread, &attr, job_main, job);
	pthread_attr_destroy(&attr);
	if (!ret)
		job->jobs->running++;
	return ret;
}

static void answer(struct bill_jobs *jobs, struct job *job)
{
	struct ctl_client *client = client_find(jobs->server, job->client_serial);

	if (!client)
		return;
	if (job->text)
		client_answer_later(client, job->text, NULL, NULL);
	else
		client_answer_later(client, NULL, "GenericError", job->why);
}

static void start_waiting(struct bill_jobs *jobs)
{
	while (jobs->waiting && jobs->running < BILL_JOBS_RUNNING_MAX) {
		struct job *job = jobs->waiting;

		jobs->waiting = job->next;
		if (start(job)) {
			snprintf(job->why, sizeof(job->why),
				 "query-bill: the daemon can start no thread now; try again");
			answer(jobs, job);
			job_free(job);
		}
	}
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
		pthread_join(job->thread, NULL);
		jobs->running--;
		answer(jobs, job);
		job_free(job);
	}
	start_waiting(jobs);
	return 0;
}

int bill_jobs_new(struct bill_jobs **out, struct ctl_server *server)
{
	struct bill_jobs *jobs = calloc(1, sizeof(*jobs));
	int ret;

	if (!jobs)
		return -ENOMEM;
	jobs->server = server;
	pthread_mutex_init(&jobs->lock, NULL);
	jobs->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = jobs->done_fd < 0 ? -errno : 0;
	if (!ret)
		ret = sd_event_add_io(server->config.event, &jobs->source, jobs->done_fd, EPOLLIN,
				      on_done, jobs);
	if (ret >= 0)
		ret = sd_event_source_set_priority(jobs->source, CTL_EVENT_PRIORITY);
	if (ret < 0) {
		bill_jobs_free(jobs);
		return ret;
	}
	*out = jobs;
	return 0;
}

void bill_jobs_free(struct bill_jobs *jobs)
{
	struct job *job;

	if (!jobs)
		return;
	while (jobs->waiting) {
		job = jobs->waiting;
		jobs->waiting = job->next;
		job_free(job);
	}
	/* Clients are gone by now, so on_done() only joins and frees; its read waits for the next one. */
	while (jobs->running) {
		struct timespec pause = { .tv_nsec = 1000000 };

		on_done(NULL, jobs->done_fd, 0, jobs);
		if (jobs->running)
			nanosleep(&pause, NULL);
	}
	sd_event_source_disable_unref(jobs->source);
	if (jobs->done_fd >= 0)
		close(jobs->done_fd);
	pthread_mutex_destroy(&jobs->lock);
	free(jobs);
}

int bill_jobs_add(struct bill_jobs *jobs, uint64_t client_serial, const struct bill_filter *filter)
{
	struct job *job = calloc(1, sizeof(*job)), **last = &jobs->waiting;
	int ret;

	if (!job)
		return -ENOMEM;
	job->jobs = jobs;
	job->client_serial = client_serial;
	job->filter = *filter;
	if (filter->tenant) {
		snprintf(job->tenant, sizeof(job->tenant), "%s", filter->tenant);
		job->filter.tenant = job->tenant;
	}
	if (filter->name) {
		snprintf(job->name, sizeof(job->name), "%s", filter->name);
		job->filter.name = job->name;
	}
	if (jobs->running < BILL_JOBS_RUNNING_MAX) {
		ret = start(job);
		if (ret)
			job_free(job);
		return ret;
	}
	while (*last)
		last = &(*last)->next;
	*last = job;
	return 0;
}
