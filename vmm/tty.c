/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the terminal driver does the work. In raw mode it passes keys on as they are; of its
 * signals only the interrupt stays, moved from Ctrl-C to a key that guests do not need.
 */
#include "vmm/tty.h"

#include <unistd.h>

void tty_make_raw(struct tty *t)
{
    t->raw = tcgetattr(STDIN_FILENO, &t->saved) == 0;
    if (!t->raw)
        return;
    struct termios raw = t->saved;
    cfmakeraw(&raw);
    raw.c_lflag |= ISIG;
    raw.c_cc[VINTR] = TTY_ESCAPE;
    raw.c_cc[VQUIT] = raw.c_cc[VSUSP] = _POSIX_VDISABLE;
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

void tty_restore(const struct tty *t)
{
    if (t->raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &t->saved);
}
