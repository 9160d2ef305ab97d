/* SPDX-License-Identifier: Apache-2.0 */
/* A program of somebody else, C and C++ alike: prints the library's version and where it found its files. */
#include <cubby.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
    struct cubby_report *report = NULL;
    struct cubby_check check;
    struct cubby_error e;
    printf("version %s\n", cubby_version());
    if (cubby_doctor(&report, NULL, &e) < 0)
        return fprintf(stderr, "%s\n", e.message), 1;
    for (size_t i = 0; cubby_report_check(report, i, &check) == 0; i++)
        if (strcmp(check.name, "vmlinux") == 0)
            printf("%s %s\n", check.name, check.detail);
    cubby_report_free(report);
    return 0;
}
