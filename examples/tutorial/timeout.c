/* SPDX-License-Identifier: Apache-2.0 */
/* A wait with an end, after which the box is as good as before; the command runs on until its handle is
 * freed. */
#include "box.h"

#include <time.h>

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int talk(struct cubby_box *box, struct cubby_exec **sleeper, struct cubby_error *error)
{
    const char *const sleeps[] = {"sleep", "3600", NULL};
    const char *const alive[] = {"echo", "still alive", NULL};
    struct cubby_exec_options options = {.size = sizeof(options), .argv = sleeps};
    struct cubby_result result = {.size = sizeof(result)};
    struct cubby_output output;
    double begin = seconds();
    int ret = cubby_exec_start(sleeper, box, &options, error);
    if (ret == 0)
        ret = cubby_exec_wait(*sleeper, 5000, &result, error);
    double took = seconds() - begin;
    if (ret == 0)
        printf("it ended: %d\n", result.exit_code);
    else if (ret != CUBBY_ETIMEOUT)
        return ret;
    else if (took >= 5 && took < 8)
        printf("given up after 5 s\n");
    else
        printf("given up after %f s\n", took);

    ret = run(box, alive, &output, error);
    if (ret < 0)
        return ret;
    printf("then: %s", output.out);
    cubby_output_free(&output);
    return 0;
}

int main(void)
{
    struct cubby_box *box = NULL;
    struct cubby_exec *sleeper = NULL;
    struct cubby_error error;
    int failed = open_box(&box, "python:slim", &error) < 0 || talk(box, &sleeper, &error) < 0;
    cubby_box_destroy(box);
    cubby_exec_free(sleeper);
    return failed ? report(&error) : 0;
}
