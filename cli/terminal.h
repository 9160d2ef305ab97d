/* SPDX-License-Identifier: Apache-2.0 */
/* Our terminal, while a command in a box has a terminal of its own. */
#ifndef CUBBY_CLI_TERMINAL_H
#define CUBBY_CLI_TERMINAL_H

#include <stdbool.h>
#include <termios.h>

struct terminal {
    int fd;
    bool raw;
    struct termios before;
};

/* Every key goes to the box, Ctrl-C too. False when `fd` is not a terminal. */
bool terminal_make_raw(struct terminal *t, int fd);
/* As it was. Safe when it was not made raw, and twice. */
void terminal_restore(struct terminal *t);
/* Its size; false when it has none. */
bool terminal_size(int fd, unsigned *rows, unsigned *cols);

#endif
