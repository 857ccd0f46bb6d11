// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A kernel with one device to assign, for a QEMU that has this library preloaded: what it opens
 * under /dev/vfio/ is a file in memory, and VFIO's calls on it are answered as for a PCI device
 * without BARs and interrupts. Nothing of the machine is touched. Used by tests/vm/assigned.t.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CONFIG_BYTES 256
#define CONFIG_AT 4096

static int fake_file(void)
{
	unsigned char config[CONFIG_BYTES] = { 0x34, 0x12, 0x78, 0x56 };
	int fd = memfd_create("fake-vfio", MFD_CLOEXEC);

	config[PCI_CLASS_DEVICE + 1] = 0xff;	/* fits no class */
	if (ftruncate(fd, CONFIG_AT + CONFIG_BYTES) || pwrite(fd, config, sizeof(config), CONFIG_AT) < 0)
		return -1;
	return fd;
}

static int is_vfio(const char *path)
{
	return path && !strncmp(path, "/dev/vfio/", 10);
}

static int open_as(const char *name, const char *path, int flags, mode_t mode)
{
	int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, name);

	return is_vfio(path) ? fake_file() : real(path, flags, mode);
}

#define MODE(flags, mode) \
	do { \
		va_list args; \
		va_start(args, flags); \
		mode = (flags) & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0; \
		va_end(args); \
	} while (0)

int open(const char *path, int flags, ...)
{
	mode_t mode;

	MODE(flags, mode);
	return open_as("open", path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	mode_t mode;

	MODE(flags, mode);
	return open_as("open64", path, flags, mode);
}

int __open_2(const char *path, int flags)
{
	return open_as("open", path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
	return open_as("open64", path, flags, 0);
}

static int region(struct vfio_region_info *info)
{
	info->flags = 0;
	info->cap_offset = 0;
	info->size = info->offset = 0;
	if (info->index == VFIO_PCI_CONFIG_REGION_INDEX) {
		info->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
		info->size = CONFIG_BYTES;
		info->offset = CONFIG_AT;
	}
	return 0;
}

static int answer(unsigned long request, void *arg)
{
	switch (request) {
	case VFIO_GET_API_VERSION:
		return VFIO_API_VERSION;
	case VFIO_CHECK_EXTENSION:
		return (uintptr_t)arg == VFIO_TYPE1v2_IOMMU;
	case VFIO_GROUP_GET_STATUS:
		((struct vfio_group_status *)arg)->flags = VFIO_GROUP_FLAGS_VIABLE;
		return 0;
	case VFIO_IOMMU_GET_INFO:
		((struct vfio_iommu_type1_info *)arg)->flags = VFIO_IOMMU_INFO_PGSIZES;
		((struct vfio_iommu_type1_info *)arg)->iova_pgsizes = ~4095ULL;
		return 0;
	case VFIO_GROUP_GET_DEVICE_FD:
		return fake_file();
	case VFIO_DEVICE_GET_INFO: {
		struct vfio_device_info *info = arg;

		info->flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
		info->num_regions = VFIO_PCI_NUM_REGIONS;
		info->num_irqs = VFIO_PCI_NUM_IRQS;
		return 0;
	}
	case VFIO_DEVICE_GET_REGION_INFO:
		return region(arg);
	case VFIO_DEVICE_GET_IRQ_INFO:
		((struct vfio_irq_info *)arg)->count = 0;
		((struct vfio_irq_info *)arg)->flags = 0;
		return 0;
	case VFIO_GROUP_SET_CONTAINER:
	case VFIO_GROUP_UNSET_CONTAINER:
	case VFIO_SET_IOMMU:
	case VFIO_IOMMU_MAP_DMA:
	case VFIO_IOMMU_UNMAP_DMA:
	case VFIO_DEVICE_RESET:
	case VFIO_DEVICE_SET_IRQS:
		return 0;
	default:
		errno = ENOTTY;
		return -1;
	}
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	/* All of VFIO's, and nobody else's. */
	if ((request & 0xff00) == (unsigned long)VFIO_TYPE << 8 && (request & 0xff) >= VFIO_BASE)
		return answer(request, arg);
	return (int)syscall(SYS_ioctl, fd, request, arg);
}
