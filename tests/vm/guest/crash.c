// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * crash KERNEL INITRD WORDS: load the kernel that Linux is to start when it crashes, with
 * an initial RAM disk and a command line (kexec_file_load(2), which adds where the memory
 * of the one that crashed is described). What `kdump-config load` does.
 */
#include <fcntl.h>
#include <linux/kexec.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int file(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0) {
		perror(path);
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: crash KERNEL INITRD WORDS\n");
		return 2;
	}
	if (syscall(SYS_kexec_file_load, file(argv[1]), file(argv[2]), strlen(argv[3]) + 1, argv[3], KEXEC_FILE_ON_CRASH)) {
		perror("kexec_file_load");
		return 1;
	}
	return 0;
}
