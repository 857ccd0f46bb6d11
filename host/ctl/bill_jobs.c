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
#include <semaphore.h>
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

/*
 * A thread and its job. The event loop hands a job over by `wake` and gets it back by
 * `answered`; there is no lock, because a thread of ordinary priority that others keep from
 * running would hold it for as long as they like.
 */
struct bill_thread {
	struct bill_jobs *jobs;
	pthread_t thread;
	sem_t wake;
	struct job *job;	/* the event loop's, and the thread's from wake to answered */
	atomic_bool answered;
};

struct bill_jobs {
	struct ctl_clients *clients;
	const struct ctl_config *config;
	struct bill_thread threads[BILL_JOBS_RUNNING_MAX];
	unsigned int count;	/* of the threads that were made */
	struct job *waiting;	/* oldest first; the event loop's */
	atomic_bool ending;
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

static void *thread_main(void *arg)
{
	struct bill_thread *self = arg;
	struct bill_jobs *jobs = self->jobs;

	ml_priority_ordinary();
	for (;;) {
		while (sem_wait(&self->wake))
			;
		if (atomic_load(&jobs->ending))
			return NULL;
		job_run(self->job, jobs->config);
		atomic_store(&self->answered, true);
		eventfd_write(jobs->done_fd, 1);
	}
}

static int start_thread(struct bill_jobs *jobs, const pthread_attr_t *attr)
{
	struct bill_thread *thread = &jobs->threads[jobs->count];
	int ret;

	thread->jobs = jobs;
	sem_init(&thread->wake, 0, 0);
	ret = -pthread_create(&thread->thread, attr, thread_main, thread);
	if (ret)
		sem_destroy(&thread->wake);
	else
		jobs->count++;
	return ret;
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
	while (!ret && jobs->count < BILL_JOBS_RUNNING_MAX)
		ret = start_thread(jobs, &attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return ret;
}

/* What waits goes to the threads that have nothing to do. */
static void hand_out(struct bill_jobs *jobs)
{
	for (unsigned int i = 0; i < jobs->count && jobs->waiting; i++) {
		struct bill_thread *thread = &jobs->threads[i];

		if (thread->job)
			continue;
		thread->job = jobs->waiting;
		jobs->waiting = jobs->waiting->next;
		sem_post(&thread->wake);
	}
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
	eventfd_t count;

	(void)source;
	(void)revents;
	eventfd_read(fd, &count);
	for (unsigned int i = 0; i < jobs->count; i++) {
		struct bill_thread *thread = &jobs->threads[i];

		if (!atomic_exchange(&thread->answered, false))
			continue;
		answer(jobs, thread->job);
		job_free(thread->job);
		thread->job = NULL;
	}
	hand_out(jobs);
	return 0;
}

/* The client has gone: what it asked for is not computed, or not to the end. */
static void on_left(void *ctx, uint64_t serial)
{
	struct bill_jobs *jobs = ctx;
	struct job **at = &jobs->waiting, *job;

	for (unsigned int i = 0; i < jobs->count; i++) {
		job = jobs->threads[i].job;
		if (job && job->client_serial == serial)
			atomic_store(&job->give_up, true);
	}
	while ((job = *at)) {
		if (job->client_serial == serial) {
			*at = job->next;
			job_free(job);
		} else {
			at = &job->next;
		}
	}
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

static void end_threads(struct bill_jobs *jobs)
{
	atomic_store(&jobs->ending, true);
	for (unsigned int i = 0; i < jobs->count; i++) {
		if (jobs->threads[i].job)
			atomic_store(&jobs->threads[i].job->give_up, true);
		sem_post(&jobs->threads[i].wake);
	}
	for (unsigned int i = 0; i < jobs->count; i++) {
		pthread_join(jobs->threads[i].thread, NULL);
		sem_destroy(&jobs->threads[i].wake);
		if (jobs->threads[i].job)
			job_free(jobs->threads[i].job);
	}
}

void bill_jobs_free(struct bill_jobs *jobs)
{
	struct job *job, *next;

	if (!jobs)
		return;
	end_threads(jobs);
	for (job = jobs->waiting; job; job = next) {
		next = job->next;
		job_free(job);
	}
	jobs->clients->left = NULL;
	sd_event_source_disable_unref(jobs->source);
	if (jobs->done_fd >= 0)
		close(jobs->done_fd);
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
	for (last = &jobs->waiting; *last; last = &(*last)->next)
		;
	*last = job;
	hand_out(jobs);
	return 0;
}
