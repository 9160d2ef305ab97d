/* SPDX-License-Identifier: Apache-2.0 */
/* A conversation with a command: a line to its stdin, the answer from its stdout, and so on until it ends. */
#include <cubby.h>

#include <stdio.h>
#include <string.h>

/* 0, or -1 when the command takes no more. */
static int say(struct cubby_exec *exec, const char *text)
{
    while (*text) {
        cubby_exec_poll(exec, CUBBY_CAN_WRITE | CUBBY_IS_ENDED, CUBBY_FOREVER);
        ssize_t n = cubby_exec_write(exec, text, strlen(text));
        if (n == CUBBY_ECLOSED)
            return -1;
        if (n > 0)
            text += n;
    }
    return 0;
}

/* A line, or what there is before the end; its length. */
static size_t hear(struct cubby_exec *exec, char *line, size_t cap)
{
    size_t len = 0;
    while (len < cap - 1 && (len == 0 || line[len - 1] != '\n')) {
        ssize_t n = cubby_exec_read(exec, CUBBY_STDOUT, line + len, 1);
        if (n == 0)
            break;
        if (n == CUBBY_EAGAIN)
            cubby_exec_poll(exec, CUBBY_CAN_READ_STDOUT, CUBBY_FOREVER);
        if (n > 0)
            len++;
    }
    line[len] = '\0';
    return len;
}

int main(void)
{
    static const char *const questions[] = {"6 * 7\n", "2 + 2\n", "1 << 10\n"};
    const char *argv[] = {"sh", "-c", "while read sum; do echo $((sum)); done; exit 3", NULL};
    struct cubby_exec_options command = {.size = sizeof(command), .argv = argv, .flags = CUBBY_EXEC_STDIN};
    struct cubby_result result = {.size = sizeof(result)};
    struct cubby_box *box = NULL;
    struct cubby_exec *exec = NULL;
    struct cubby_error error = {0};
    char answer[80];
    int failed = cubby_box_create(&box, NULL, &error) < 0 || cubby_box_start(box, &error) < 0 ||
                 cubby_exec_start(&exec, box, &command, &error) < 0;
    for (size_t i = 0; !failed && i < sizeof(questions) / sizeof(questions[0]); i++) {
        if (say(exec, questions[i]) < 0 || hear(exec, answer, sizeof(answer)) == 0)
            break;
        printf("%.*s = %s", (int)strcspn(questions[i], "\n"), questions[i], answer);
    }
    failed = failed || cubby_exec_close_stdin(exec) < 0 ||
             cubby_exec_wait(exec, CUBBY_FOREVER, &result, &error) < 0;
    if (failed)
        fprintf(stderr, "%s\n", error.message);
    else
        printf("it ended with %d\n", result.exit_code);
    cubby_exec_free(exec);
    cubby_box_destroy(box);
    return failed;
}
