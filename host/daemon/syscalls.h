/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The system calls the daemon may make once it runs, by who needs them. Those
 * with a condition on their arguments stand in sandbox.c. Included there only.
 */
#ifndef ML_DAEMON_SYSCALLS_H
#define ML_DAEMON_SYSCALLS_H

/* Event loop, log, clocks. */
#define SYSCALLS_LOOP \
	"read", "readv", "write", "writev", "close", "epoll_create1", "epoll_ctl", "epoll_wait", \
	"epoll_pwait", "epoll_pwait2", "timerfd_create", "timerfd_settime", "timerfd_gettime", \
	"timer_create", "timer_settime", "timer_delete", \
	"signalfd4", "eventfd2", "poll", "ppoll", "clock_gettime", "clock_getres", "clock_nanosleep", \
	"nanosleep", "gettimeofday", "time", "pause", "restart_syscall"

/* Memory and threads. */
#define SYSCALLS_MEMORY \
	"brk", "mremap", "munmap", "madvise", "msync", "membarrier", "futex", "futex_waitv", "rseq", \
	"set_robust_list", "get_robust_list", "sched_yield", "sched_getaffinity", "gettid", "getpid", \
	"getppid", "getcpu", "exit", "exit_group", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", \
	"sigaltstack", "getrandom", "mincore"

/* Files: the pool's, the VMs' records, the ledger (SQLite). */
#define SYSCALLS_FILES \
	"open", "openat", "openat2", "creat", "stat", "fstat", "lstat", "newfstatat", "statx", "access", \
	"faccessat", "faccessat2", "readlink", "readlinkat", "getcwd", "getdents64", "lseek", "pread64", \
	"pwrite64", "preadv", "pwritev", "ftruncate", "fallocate", "fsync", "fdatasync", "sync_file_range", \
	"fcntl", "flock", "dup", "dup2", "dup3", "unlink", "unlinkat", "rename", "renameat", "renameat2", \
	"link", "linkat", "mkdir", "mkdirat", "rmdir", "chmod", "fchmod", "fchmodat", "fchown", "umask", \
	"lsetxattr", "utime", "utimes", "utimensat", "statfs", "fstatfs", "cachestat", "memfd_create", "pipe2"

/* Sockets, all of them local: socket() itself stands in sandbox.c. */
#define SYSCALLS_SOCKETS \
	"bind", "listen", "accept4", "accept", "connect", "shutdown", "sendmsg", "sendto", "recvmsg", \
	"recvfrom", "recvmmsg", "sendmmsg", "getsockopt", "setsockopt", "getsockname", "getpeername", \
	"socketpair"

/* Who am I, who is QEMU, is it the same process as before. */
#define SYSCALLS_PROCESS \
	"pidfd_open", "kcmp", "getuid", "geteuid", "getgid", "getegid", "getgroups", "uname", "sysinfo", \
	"getrlimit", "prlimit64", "getrusage", "times", "capget"

#endif /* ML_DAEMON_SYSCALLS_H */
