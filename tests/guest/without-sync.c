// usage: without-sync all|syncfs PROGRAM ARGUMENT...
// Runs the program with its syncs a lie: syncfs (or every kind of sync) says 0 and does nothing. Tests of power failures must
// notice.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int count, char **arguments) {
	int all = count > 1 && !strcmp(arguments[1], "all");
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_syncfs, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, all ? SYS_sync : SYS_syncfs, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, all ? SYS_fsync : SYS_syncfs, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, all ? SYS_fdatasync : SYS_syncfs, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 0),
	};
	struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
	if (count < 3)
		return 125;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
		perror("without-sync");
		return 125;
	}
	execv(arguments[2], arguments + 2);
	perror(arguments[2]);
	return 125;
}
