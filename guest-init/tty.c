/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: TIOCGPTPEER opens the slave through the master, so no path of the image is followed,
 * and none can lead elsewhere.
 */
#include "guest-init/tty.h"

#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

int tty_resize(int master, uint16_t rows, uint16_t cols)
{
    struct winsize size = {.ws_row = rows, .ws_col = cols};
    return ioctl(master, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

int tty_open(int *master, int *slave, uint16_t rows, uint16_t cols, struct err *e)
{
    CLEANUP(fd_closep) int m = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (m < 0)
        return err_sys(e, "cannot open '/dev/ptmx'");
    int unlock = 0;
    if (ioctl(m, TIOCSPTLCK, &unlock) < 0)
        return err_sys(e, "cannot unlock the terminal");
    int s = ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (s < 0)
        return err_sys(e, "cannot open the terminal's other side");
    *slave = s;
    *master = STEAL_FD(m);
    int ret = tty_resize(*master, rows, cols);
    return ret < 0 ? err_set(e, ret, "cannot set the terminal's size") : 0;
}
