/* SPDX-License-Identifier: Apache-2.0 */
/* A command that goes on without a handle: started, left alone, listed, met again by its id, removed. */
#include <cubby.h>

#include <inttypes.h>
#include <stdio.h>

/* Starts it and forgets it: its id, or 0. */
static uint64_t start(struct cubby_box *box, struct cubby_error *error)
{
    const char *const argv[] = {"sh", "-c", "echo early; sleep 1; echo late; exit 4", NULL};
    struct cubby_exec_options command = {.size = sizeof(command), .argv = argv, .flags = CUBBY_EXEC_DETACHED};
    struct cubby_exec *exec = NULL;
    if (cubby_exec_start(&exec, box, &command, error) < 0)
        return 0;
    int bits = cubby_exec_poll(exec, CUBBY_IS_STARTED | CUBBY_IS_ENDED, CUBBY_FOREVER);
    uint64_t id = bits & CUBBY_IS_STARTED ? cubby_exec_id(exec) : 0;
    if (id == 0)
        cubby_exec_wait(exec, 0, NULL, error);
    cubby_exec_free(exec);
    return id;
}

static int list(struct cubby_box *box, struct cubby_error *error)
{
    struct cubby_exec_list *found = NULL;
    struct cubby_exec_info info = {.size = sizeof(info)};
    if (cubby_exec_list(&found, box, 10000, error) < 0)
        return -1;
    for (size_t i = 0; cubby_exec_list_get(found, i, &info) == 0; i++)
        printf("%s: %s\n", info.ended ? "ended" : "runs", info.command);
    cubby_exec_list_free(found);
    return 0;
}

/* All of its output from the beginning, as it comes. */
static int follow(struct cubby_box *box, uint64_t id, struct cubby_error *error)
{
    struct cubby_exec *exec = NULL;
    char text[256];
    ssize_t n;
    if (cubby_exec_attach(&exec, box, id, NULL, error) < 0)
        return -1;
    while ((n = cubby_exec_read(exec, CUBBY_STDOUT, text, sizeof(text))) != 0) {
        if (n == CUBBY_EAGAIN)
            cubby_exec_poll(exec, CUBBY_CAN_READ_STDOUT, CUBBY_FOREVER);
        else
            printf("%.*s", (int)n, text);
    }
    int ret = cubby_exec_wait(exec, CUBBY_FOREVER, NULL, error);
    cubby_exec_free(exec);
    return ret;
}

int main(void)
{
    struct cubby_result result = {.size = sizeof(result)};
    struct cubby_box *box = NULL;
    struct cubby_error error;
    uint64_t id = 0;
    int failed = cubby_box_create(&box, NULL, &error) < 0 || cubby_box_start(box, &error) < 0 ||
                 (id = start(box, &error)) == 0 || list(box, &error) < 0 || follow(box, id, &error) < 0 ||
                 list(box, &error) < 0 || cubby_exec_remove(box, id, 0, 10000, &result, &error) < 0;
    if (failed)
        fprintf(stderr, "%s: %s\n", cubby_code_name(error.code), error.message);
    else
        printf("removed: exit code %d\n", result.exit_code);
    cubby_box_destroy(box);
    return failed;
}
