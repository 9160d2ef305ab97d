/* SPDX-License-Identifier: Apache-2.0 */
/* A command that succeeds, one that fails, and the habit of looking before using. */
#include "box.h"

static const char *last_line(char *text)
{
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == '\n')
        text[--len] = '\0';
    const char *at = strrchr(text, '\n');
    return at ? at + 1 : text;
}

static int talk(struct cubby_box *box, struct cubby_error *error)
{
    const char *const hello[] = {"echo", "hello", NULL};
    const char *const fails[] = {"python", "-c", "import no_such_module_here", NULL};
    const char *const sum[] = {"python", "-c", "print(2 + 2)", NULL};
    struct cubby_output output;
    int ret = run(box, hello, &output, error);
    if (ret < 0)
        return ret;
    printf("exit code %d, stdout: %s", output.result.exit_code, output.out);
    cubby_output_free(&output);

    ret = run(box, fails, &output, error);
    if (ret < 0)
        return ret;
    printf("exit code %d, stderr ends: %s\n", output.result.exit_code, last_line(output.err));
    cubby_output_free(&output);

    ret = run(box, sum, &output, error);
    if (ret < 0)
        return ret;
    if (output.result.exit_code == 0)
        printf("sum: %s", output.out);
    else
        printf("it failed: %s", output.err);
    cubby_output_free(&output);
    return 0;
}

int main(void)
{
    struct cubby_box *box = NULL;
    struct cubby_error error;
    int failed = open_box(&box, "python:slim", &error) < 0 || talk(box, &error) < 0;
    cubby_box_destroy(box);
    return failed ? report(&error) : 0;
}
