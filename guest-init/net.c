/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: setting IFF_UP on lo gives it 127.0.0.1 and ::1 by itself. The files are written only
 * where an image ships none (most ship an empty /etc/resolv.conf or none, because their build tool mounted
 * its own there).
 */
#include "guest-init/net.h"

#include "base/log.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int net_up(const char *hostname, struct err *e)
{
    if (sethostname(hostname, strlen(hostname)) < 0)
        return err_sys(e, "cannot set the host name '%s'", hostname);
    CLEANUP(fd_closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) < 0)
        return err_sys(e, "cannot bring the loopback interface up");
    return 0;
}

static void write_missing(int dir, const char *name, const char *text)
{
    struct stat st;
    CLEANUP(fd_closep)
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0644);
    if (fd < 0 || fstat(fd, &st) < 0) {
        log_info(LOG_INIT, "/etc/%s is left as it is: %s", name, strerror(errno));
        return;
    }
    if (S_ISREG(st.st_mode) && st.st_size == 0 && write(fd, text, strlen(text)) < 0)
        log_warn(LOG_INIT, "cannot write /etc/%s: %s", name, strerror(errno));
}

/* Looks before it opens for writing: on an overlay that alone would copy the file up. */
static void fill(int dir, const char *name, const char *text)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (!S_ISREG(st.st_mode) || st.st_size > 0))
        return;
    write_missing(dir, name, text);
}

void net_write_files(const char *etc, const char *hostname)
{
    char text[512];
    mkdir(etc, 0755); /* most images have it: an error is the next line's */
    CLEANUP(fd_closep) int dir = open(etc, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0) {
        log_warn(LOG_INIT, "cannot open '%s': %s", etc, strerror(errno));
        return;
    }
    snprintf(text, sizeof(text),
             "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t%s\n", hostname);
    fill(dir, "hosts", text);
    snprintf(text, sizeof(text), "%s\n", hostname);
    fill(dir, "hostname", text);
    /* No network, no resolver: say so instead of letting the C library ask 127.0.0.1 and wait. */
    fill(dir, "resolv.conf", "# this box has no network\noptions timeout:1 attempts:1\n");
}
