/* SPDX-License-Identifier: Apache-2.0 */
/* A command that is not there, an image that is not there, and an exit code that is no error. */
#include "box.h"

static void attempt(const char *image, const char *command)
{
    const char *const argv[] = {command, NULL};
    struct cubby_output output = {.size = sizeof(output)};
    struct cubby_box *box = NULL;
    struct cubby_error error;
    int ret = open_box(&box, image, &error);
    if (ret == 0)
        ret = run(box, argv, &output, &error);
    switch (ret) {
    case 0:
        printf("it ran\n");
        break;
    case CUBBY_ESPAWN:
    case CUBBY_ENOTFOUND_CMD:
    case CUBBY_ENOTEXEC_CMD:
        printf("spawn failed: %s\n", command);
        break;
    case CUBBY_ETIMEOUT:
        printf("it took too long\n");
        break;
    case CUBBY_EIMAGE:
    case CUBBY_EIMAGE_NOT_FOUND:
        printf("image error: %s\n", image);
        break;
    default:
        report(&error);
    }
    cubby_output_free(&output);
    cubby_box_destroy(box);
}

int main(void)
{
    const char *const exits[] = {"python", "-c", "import sys; sys.exit(42)", NULL};
    struct cubby_output output = {.size = sizeof(output)};
    struct cubby_box *box = NULL;
    struct cubby_error error;
    attempt("python:slim", "no_such_command");
    attempt("python:no-such-tag", "true");
    int failed = open_box(&box, "python:slim", &error) < 0 || run(box, exits, &output, &error) < 0;
    if (!failed && output.result.exit_code != 0)
        printf("ended with code %d\n", output.result.exit_code);
    cubby_output_free(&output);
    cubby_box_destroy(box);
    return failed ? report(&error) : 0;
}
