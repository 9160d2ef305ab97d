/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal on stdin while a guest's console uses it. */
#ifndef CUBBY_VMM_TTY_H
#define CUBBY_VMM_TTY_H

#include <stdbool.h>
#include <termios.h>

#define TTY_ESCAPE 0x1d /* Ctrl-]: the one key that is for the VMM, not for the guest: it stops the VM */

struct tty {
    bool raw; /* and to be restored */
    struct termios saved;
};

/* Passes every key to the guest but TTY_ESCAPE, which becomes SIGINT. Nothing happens when stdin is no
 * terminal. */
void tty_make_raw(struct tty *t);
/* Safe at any time, from any thread, more than once. */
void tty_restore(const struct tty *t);

#endif
