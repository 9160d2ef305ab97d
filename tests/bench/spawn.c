/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an execution is measured against (tests/bench/exec.c): fork, execve and wait of /bin/true by a small
 * static process, in the guest. Prints the nanoseconds of each of N rounds, one on a line.
 *
 *     spawn N
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 1;
    for (long i = -2; i < rounds; i++) { /* two to warm up */
        int status;
        long long begun = now_ns();
        pid_t pid = fork();
        if (pid == 0) {
            execl("/bin/true", "true", (char *)NULL);
            _exit(127);
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
            return 1;
        if (i >= 0)
            printf("%lld\n", now_ns() - begun);
    }
    return 0;
}
