/* SPDX-License-Identifier: Apache-2.0 */
/* The same as a function. Its commands are ended when their time is up: `timeout_ms` is the guest's own
 * timer. */
#include "box.h"

/* 1 with the output when the command ended in time, 0 when not, or a code with its reason in *error. */
static int within(struct cubby_box *box, uint64_t timeout_ms, const char *const *argv,
                  struct cubby_output *output, struct cubby_error *error)
{
    struct cubby_exec_options options = {.size = sizeof(options), .argv = argv, .timeout_ms = timeout_ms};
    *output = (struct cubby_output){.size = sizeof(*output)};
    int ret = cubby_run(box, &options, output, error);
    return ret < 0 ? ret : output->result.how != CUBBY_TIMED_OUT;
}

static int talk(struct cubby_box *box, struct cubby_error *error)
{
    const char *const fast[] = {"echo", "fast", NULL};
    const char *const slow[] = {"sleep", "3600", NULL};
    struct cubby_output output;
    int ret = within(box, 10000, fast, &output, error);
    if (ret > 0)
        printf("in time: %s", output.out);
    cubby_output_free(&output);
    if (ret < 0)
        return ret;
    ret = within(box, 2000, slow, &output, error);
    if (ret == 0)
        printf("not in time\n");
    cubby_output_free(&output);
    return ret < 0 ? ret : 0;
}

int main(void)
{
    struct cubby_box *box = NULL;
    struct cubby_error error;
    int failed = open_box(&box, "python:slim", &error) < 0 || talk(box, &error) < 0;
    cubby_box_destroy(box);
    return failed ? report(&error) : 0;
}
