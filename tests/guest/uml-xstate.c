// Loaded before linux.uml: lets User Mode Linux 6.1 run on processors whose register state is larger than it knows.
//
// It saves and restores at most 2,696 bytes (up to AVX-512 and PKRU) of each guest process. A kernel since 5.16 on a
// processor with AMX takes nothing less than its whole area of some 11,000 bytes back (PTRACE_SETREGSET: EFAULT). The rest
// is filled in from what the process has now; the guest's programs can't use AMX, for they never ask for it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

static char area[64 * 1024];

static int whole(long (*real)(int, ...), pid_t pid, void *kind, const struct iovec *part, struct iovec *all) {
	*all = (struct iovec){.iov_base = area, .iov_len = sizeof area};
	if (real(PTRACE_GETREGSET, pid, kind, all) < 0 || all->iov_len <= part->iov_len)
		return 0;
	memcpy(area, part->iov_base, part->iov_len);
	return 1;
}

long ptrace(enum __ptrace_request request, ...) {
	static long (*real)(int, ...);
	if (!real)
		real = (long (*)(int, ...))dlsym(RTLD_NEXT, "ptrace");
	va_list arguments;
	va_start(arguments, request);
	pid_t pid = va_arg(arguments, pid_t);
	void *address = va_arg(arguments, void *);
	void *data = va_arg(arguments, void *);
	va_end(arguments);
	struct iovec all;
	if (request == PTRACE_SETREGSET && address == (void *)NT_X86_XSTATE && whole(real, pid, address, data, &all))
		data = &all;
	return real(request, pid, address, data);
}
