/* SPDX-License-Identifier: Apache-2.0 */
/* Work on files in a box: copy FOLDER copies it in, has a list made of what is in it, and copies that out. */
#include <cubby.h>

#include <stdio.h>

int main(int argc, char **argv)
{
    const char *const list[] = {"sh", "-c", "cd /work && find . -type f | sort >/tmp/list", NULL};
    struct cubby_exec_options command = {.size = sizeof(command), .argv = list};
    struct cubby_copy_result in = {.size = sizeof(in)}, out = {.size = sizeof(out)};
    struct cubby_output output = {.size = sizeof(output)};
    struct cubby_box *box = NULL;
    struct cubby_error error;
    if (argc != 2)
        return fprintf(stderr, "usage: copy FOLDER\n"), 2;
    int failed = cubby_box_create(&box, NULL, &error) < 0 || cubby_box_start(box, &error) < 0 ||
                 cubby_copy_in(box, argv[1], "/work", NULL, &in, &error) < 0 ||
                 cubby_run(box, &command, &output, &error) < 0 ||
                 cubby_copy_out(box, "/tmp/list", "list.txt", NULL, &out, &error) < 0;
    if (failed)
        fprintf(stderr, "%s: %s\n", cubby_code_name(error.code), error.message);
    else
        printf("%llu files and folders, %llu bytes went in; list.txt has %llu bytes\n",
               (unsigned long long)in.entries, (unsigned long long)in.bytes, (unsigned long long)out.bytes);
    cubby_output_free(&output);
    cubby_box_destroy(box);
    return failed;
}
