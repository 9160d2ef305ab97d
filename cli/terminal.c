/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: the line discipline of the box's terminal does the editing, so ours has to pass all
 * through. */
#include "cli/terminal.h"

#include <sys/ioctl.h>

bool terminal_make_raw(struct terminal *t, int fd)
{
    t->fd = fd;
    t->raw = false;
    if (tcgetattr(fd, &t->before) < 0)
        return false;
    struct termios raw = t->before;
    cfmakeraw(&raw);
    t->raw = tcsetattr(fd, TCSANOW, &raw) == 0;
    return t->raw;
}

void terminal_restore(struct terminal *t)
{
    if (t->raw)
        tcsetattr(t->fd, TCSADRAIN, &t->before);
    t->raw = false;
}

bool terminal_size(int fd, unsigned *rows, unsigned *cols)
{
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 || size.ws_col == 0)
        return false;
    *rows = size.ws_row;
    *cols = size.ws_col;
    return true;
}
