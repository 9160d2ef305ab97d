/* SPDX-License-Identifier: Apache-2.0 */
/* Ten boxes at once, from one event loop: each line of their output, as it comes, with the number of its box.
 */
#include <cubby.h>
#include <poll.h>
#include <stdio.h>

#define BOXES 10

int main(void)
{
    const char *argv[] = {"sh", "-c", "for i in 1 2 3; do echo line $i; sleep 0.2; done", NULL};
    struct cubby_box_options small = {.size = sizeof(small), .memory_mib = 64};
    struct cubby_exec_options command = {.size = sizeof(command), .argv = argv};
    struct one {
        struct cubby_box *box;
        struct cubby_exec *exec;
        char line[80];
        size_t len;
    } all[BOXES] = {{0}}, *o;
    struct pollfd fds[BOXES];
    struct cubby_error e;
    for (int i = 0; i < BOXES; i++) {
        o = &all[i];
        if (cubby_box_create(&o->box, &small, &e) < 0 || cubby_box_start(o->box, &e) < 0 ||
            cubby_exec_start(&o->exec, o->box, &command, &e) < 0)
            return fprintf(stderr, "box %d: %s\n", i, e.message), 1;
        fds[i] = (struct pollfd){.fd = cubby_exec_fd(o->exec), .events = POLLIN};
    }
    for (int left = BOXES; left > 0 && poll(fds, BOXES, -1) > 0;) {
        for (int i = 0; i < BOXES; i++) {
            o = &all[i];
            ssize_t n = CUBBY_EAGAIN;
            while (fds[i].revents && (n = cubby_exec_read(o->exec, CUBBY_STDOUT, &o->line[o->len], 1)) > 0) {
                if (o->line[o->len++] == '\n' || o->len == sizeof(o->line)) {
                    printf("box %d: %.*s", i, (int)o->len, o->line);
                    o->len = 0;
                }
            }
            if (n == 0) { /* the end of its output */
                if (cubby_exec_wait(o->exec, CUBBY_FOREVER, NULL, &e) < 0)
                    fprintf(stderr, "box %d: %s\n", i, e.message);
                cubby_exec_free(o->exec);
                cubby_box_destroy(o->box);
                fds[i].fd = -1; /* which poll() passes over */
                left--;
            }
        }
    }
    return 0;
}
