// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pool-wait BASE BYTES: touches that find no block: they wait, are told of, counted,
 * served, killed, and have an end. Claims the carve-out if that was not done.
 */
#include "pool-window.h"

#include <pthread.h>

#define AT_ONCE_S 20	/* for what takes milliseconds, in an emulated host */

static volatile int alarms;

static void on_alarm(int signal)
{
	(void)signal;
	alarms++;
}

static void *touch_slot(void *at)
{
	return (void *)(intptr_t)lab_write(at, PATTERN);
}

static void test_wait(void)
{
	struct memlease_touch t = {};
	uint64_t waits = lab_rings->waits;
	pthread_t thread;
	double began, took;
	void *result;

	begin("wait");
	lab_commit(window, 0, 8);
	pthread_create(&thread, NULL, touch_slot, mem);
	ok(lab_await(MEMLEASE_TOUCH_WAITING, &t) && t.window == window && !t.slot && t.pid == (uint32_t)getpid(),
	   "who finds no block waits, and is told");
	ok(lab_rings->waiting == 1 && lab_rings->waits == waits + 1, "and counted");
	began = lab_seconds();
	for (int i = 0; i < 50; i++)
		munmap(mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0),
		       1 << 20);
	/* Else this would take as long as the wait, for which there is no end but ours. */
	took = lab_seconds() - began;
	ok(took < AT_ONCE_S && lab_rings->waiting == 1,
	   "meanwhile its memory map is not locked (%.1f s)", took);
	signal(SIGUSR1, on_alarm);
	pthread_kill(thread, SIGUSR1);
	lab_nap(300);
	ok(!alarms && lab_rings->waiting == 1 && !lab_touch(&t), "signals do not make it wait anew");
	lab_supply(40);
	pthread_join(thread, &result);
	ok(alarms == 1, "they are handled after the wait");
	ok(!result && lab_slot(window, 0) == (MEMLEASE_SLOT_RESIDENT | 40 << 2) && !lab_rings->waiting,
	   "until there is a block");

	pthread_create(&thread, NULL, touch_slot, mem + LAB_BLOCK);
	lab_await(MEMLEASE_TOUCH_WAITING, &t);
	is(lab_map(window, 1, 41), 0, "MAP serves who waits");
	pthread_join(thread, &result);
	ok(!result, "which goes on");
	pthread_create(&thread, NULL, touch_slot, mem + 2 * LAB_BLOCK);
	lab_await(MEMLEASE_TOUCH_WAITING, &t);
	is(lab_change(MEMLEASE_POOL_COMMIT, window, 2, 1, 0, &(uint32_t){ 0 }), 0, "the slot's right goes meanwhile");
	pthread_join(thread, &result);
	ok((intptr_t)result == SIGBUS, "and the write ends as it must");
	end();
}

#define CROWD 16

/* Many that wait for one block are one piece of news. */
static void test_crowd(void)
{
	struct memlease_touch t = {};
	pthread_t threads[CROWD], one;
	int failed = 0;
	void *result;

	begin("crowd");
	lab_commit(window, 0, 8);
	for (int i = 0; i < CROWD; i++)
		pthread_create(&threads[i], NULL, touch_slot, mem + 3 * LAB_BLOCK + 4096 * i);
	while (lab_rings->waiting != CROWD)
		lab_nap(5);
	pthread_create(&one, NULL, touch_slot, mem + 4 * LAB_BLOCK);
	while (lab_rings->waiting != CROWD + 1)
		lab_nap(5);
	ok(lab_touch(&t) && t.type == MEMLEASE_TOUCH_WAITING && t.slot == 3, "a crowd waits for a block");
	ok(lab_touch(&t) && t.type == MEMLEASE_TOUCH_WAITING && t.slot == 4 && !lab_touch(&t),
	   "which is told once, and of another slot once");
	ok(lab_slot(window, 3) == MEMLEASE_SLOT_COMMITTED, "the slot's word is as if nobody waited");
	is(lab_map(window, 4, 47), 0, "one is served");
	pthread_join(one, &result);
	ok(!result && lab_rings->waiting == CROWD, "and goes, the others stay");
	is(lab_map(window, 3, 46), 0, "until they are");
	for (int i = 0; i < CROWD; i++) {
		pthread_join(threads[i], &result);
		failed += !!result;
	}
	ok(!failed && !lab_rings->waiting, "then all go");
	end();
}

/* The records that a daemon has read go with it: the next one hears of tasks that wait, too. */
static void test_next_daemon(void)
{
	struct memlease_touch t = {};
	pthread_t thread;
	void *result;

	begin("next");
	lab_commit(window, 0, 8);
	pthread_create(&thread, NULL, touch_slot, mem + 3 * LAB_BLOCK);
	ok(lab_await(MEMLEASE_TOUCH_WAITING, &t), "a task waits");
	lab_nap(600);
	ok(!lab_touch(&t), "and tells one daemon once");
	lab_open_again();
	ok(lab_await(MEMLEASE_TOUCH_WAITING, &t) && t.window == window && t.slot == 3, "and the next one, too");
	lab_nap(600);
	ok(!lab_touch(&t) && lab_rings->waiting == 1, "once, and it is one wait");
	is(lab_map(window, 3, 45), 0, "which it ends");
	pthread_join(thread, &result);
	ok(!result, "well");
	end();
}

static void test_kill(void)
{
	struct memlease_touch t = {};
	int status = 0;
	double began;
	pid_t pid;

	begin("kill");
	lab_commit(window, 0, 8);
	pid = fork();
	if (!pid) {
		mem = lab_map_window(lab_open_window("kill"), SLOTS);
		_exit(lab_write(mem, 1));
	}
	ok(lab_await(MEMLEASE_TOUCH_WAITING, &t) && t.pid == (uint32_t)pid, "a process waits");
	began = lab_seconds();
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	ok(WIFSIGNALED(status) && lab_seconds() - began < 1, "and can be killed");
	ok(!lab_rings->waiting, "then none waits");
	/* As a read() does: the fault is the kernel's. */
	pid = fork();
	if (!pid) {
		mem = lab_map_window(lab_open_window("kill"), SLOTS);
		_exit(read(open("/dev/zero", O_RDONLY), mem, 4096) == 4096 ? 0 : 1);
	}
	ok(lab_await(MEMLEASE_TOUCH_WAITING, &t), "a system call waits, too");
	kill(pid, SIGSTOP);
	lab_nap(50);
	kill(pid, SIGCONT);
	lab_supply(42);
	waitpid(pid, &status, 0);
	ok(!status, "and ends well");
	end();
}

struct leaver {
	char *mem;
	int fd;
};

static void *touch_and_leave(void *arg)
{
	struct leaver *l = arg;

	return (void *)(intptr_t)lab_write(l->mem, PATTERN);
}

/* The mapping goes, and the file, while a thread waits for a block of it. */
static void test_leave(void)
{
	struct memlease_touch t = {};
	int status = 0;
	pid_t pid;

	begin("leave");
	munmap(mem, SLOTS * LAB_BLOCK);
	close(window_fd);
	lab_forget_touches();
	for (int i = 0; i < 1000; i++) {
		int fd = lab_open_window("leave");

		munmap(lab_map_window(fd, SLOTS), SLOTS * LAB_BLOCK);
		close(fd);
	}
	expect_once(MEMLEASE_TOUCH_CLOSED, "a thousand closings are one record");
	lab_commit(window, 0, 8);
	pid = fork();
	if (!pid) {
		struct leaver l = { .fd = lab_open_window("leave") };
		pthread_t thread;
		void *result;

		l.mem = lab_map_window(l.fd, SLOTS);
		pthread_create(&thread, NULL, touch_and_leave, &l);
		while (!lab_rings->waiting)
			lab_nap(5);
		munmap(l.mem, SLOTS * LAB_BLOCK);
		close(l.fd);
		pthread_join(thread, &result);
		_exit((intptr_t)result);
	}
	lab_await(MEMLEASE_TOUCH_WAITING, &t);
	lab_nap(300);
	is(call(MEMLEASE_POOL_DESTROY, &window), -EBUSY, "who waits keeps a window that is closed");
	lab_supply(43);
	waitpid(pid, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == SIGSEGV, "its mapping is gone after the wait (%#x)", status);
	ok(lab_await(MEMLEASE_TOUCH_CLOSED, &t) && t.window == window, "then the window is closed");
	is(lab_remove(window, SLOTS), 0, "and goes");
}

static void set_wait_ms(unsigned int ms)
{
	FILE *f = fopen("/sys/module/memlease_pool/parameters/wait_ms", "w");

	if (!f || fprintf(f, "%u", ms) < 0 || fclose(f))
		lab_die("wait_ms");
}

static void test_limit(void)
{
	struct memlease_touch t = {};
	double began = lab_seconds();

	begin("limit");
	lab_commit(window, 0, 8);
	set_wait_ms(1000);
	is(-lab_write(mem, 1), -SIGBUS, "a wait has an end");
	ok(lab_seconds() - began > 0.9 && lab_seconds() - began < 4, "when its time is over");
	ok(lab_await(MEMLEASE_TOUCH_TIMEOUT, &t) && t.window == window && !t.slot, "which is told");
	lab_supply(44);
	is(-lab_write(mem, 1), 0, "a block makes it good again");
	set_wait_ms(MEMLEASE_POOL_WAIT_MS);
	end();
}

#define FLOOD 300	/* more tasks than may tell at a time, each at a slot of its own */
#define FEW 256		/* that may */
#define LATE 20		/* whose time runs out */

/* So many tasks, each at a slot of its own. */
static void flood(pthread_t *threads, int n)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	for (int i = 0; i < n; i++)
		pthread_create(&threads[i], &attr, touch_slot, mem + i * LAB_BLOCK);
}

static uint32_t count_touches(uint32_t type)
{
	struct memlease_touch t;
	uint32_t n = 0;

	while (lab_touch(&t))
		n += t.type == type && t.window == window;
	return n;
}

/* Records that nobody has read yet. */
static uint32_t told_now(void)
{
	return __atomic_load_n(&lab_rings->touches_head, __ATOMIC_ACQUIRE) - lab_rings->touches_tail;
}

/* What the tasks of one VM can have the ring hold: never all of it, or the daemon reads all slots of all VMs. */
static void test_flood(void)
{
	uint64_t overflow = lab_rings->overflow;
	pthread_t threads[FLOOD];
	uint32_t tail, told, blocks[FLOOD];
	double end;

	lab_supply_clear();
	lab_forget_touches();
	window = lab_create("flood", FLOOD);
	window_fd = lab_open_window("flood");
	mem = lab_map_window(window_fd, FLOOD);
	lab_commit(window, 0, FLOOD);
	/* A ring that a slow daemon has left nearly full. */
	tail = lab_rings->touches_tail;
	lab_rings->touches_tail = tail - (MEMLEASE_POOL_TOUCHES - 8);
	flood(threads, FLOOD);
	while (lab_rings->waiting != FLOOD)
		lab_nap(10);
	lab_nap(600);
	ok(lab_rings->overflow == overflow, "who waits loses no record, however full the ring is");
	lab_rings->touches_tail = lab_rings->touches_head;
	/* All that may come have come, however slow the tasks are, and no more come later. */
	for (end = lab_seconds() + 30; lab_seconds() < end && told_now() < FEW;)
		lab_nap(20);
	lab_nap(600);
	told = told_now();
	ok(told == FEW, "%d tasks of one VM that wait leave %u records at a time", FLOOD, told);
	end = lab_seconds() + 10;
	for (told = 0; told < FLOOD && lab_seconds() < end; lab_nap(20))
		told += count_touches(MEMLEASE_TOUCH_WAITING);
	ok(told == FLOOD, "and all in the end (%u)", told);
	lab_change(MEMLEASE_POOL_COMMIT, window, 0, FLOOD, 0, blocks);
	for (int i = 0; i < FLOOD; i++)
		pthread_join(threads[i], NULL);
	lab_commit(window, 0, FLOOD);
	lab_forget_touches();
	set_wait_ms(1000);
	flood(threads, LATE);
	for (int i = 0; i < LATE; i++)
		pthread_join(threads[i], NULL);
	told = count_touches(MEMLEASE_TOUCH_TIMEOUT);
	ok(told == 1, "waits that run into their limit leave one (%u)", told);
	set_wait_ms(MEMLEASE_POOL_WAIT_MS);
	munmap(mem, FLOOD * LAB_BLOCK);
	close(window_fd);
	is(lab_remove(window, FLOOD), 0, "the window goes");
}

int main(int argc, char **argv)
{
	if (argc != 3)
		lab_die("usage: pool-wait BASE BYTES");
	lab_catch_bus();
	lab_open();
	lab_claim(strtoull(argv[1], NULL, 0), strtoull(argv[2], NULL, 0));
	test_wait();
	test_crowd();
	test_next_daemon();
	test_kill();
	test_leave();
	test_limit();
	test_flood();
	return lab_failures ? 1 : 0;
}
