/* SPDX-License-Identifier: Apache-2.0 */
/* A command, its output and how it ended, in one call: run COMMAND [ARGUMENT…]. */
#include <cubby.h>

#include <stdio.h>

int main(int argc, char **argv)
{
    const char *const uname[] = {"uname", "-m", NULL};
    struct cubby_exec_options command = {.size = sizeof(command),
                                         .argv = argc > 1 ? (const char *const *)argv + 1 : uname,
                                         .timeout_ms = 30000};
    struct cubby_output output = {.size = sizeof(output)};
    struct cubby_box *box = NULL;
    struct cubby_error error;
    int failed = cubby_box_create(&box, NULL, &error) < 0 || cubby_box_start(box, &error) < 0 ||
                 cubby_run(box, &command, &output, &error) < 0;
    if (failed) {
        fprintf(stderr, "%s: %s\n", cubby_code_name(error.code), error.message);
    } else {
        printf("stdout: %s", output.out);
        printf("stderr: %s", output.err);
        printf("exit code: %d\n", output.result.exit_code);
    }
    cubby_output_free(&output);
    cubby_box_destroy(box);
    return failed;
}
