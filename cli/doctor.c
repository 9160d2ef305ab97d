/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: libcubby examines the host, this prints what it found, failures with their remedy. */
#include "cli/cli.h"

struct doctor_settings {
    bool json;
    const char *assets;
};

static void print_report(const struct cubby_report *report)
{
    struct cubby_check c;
    for (size_t i = 0; cubby_report_check(report, i, &c) == 0; i++) {
        const char *verdict = c.ok ? "ok  " : c.required ? "FAIL" : "hint";
        printf("%s  %s: %s\n", verdict, c.name, c.detail);
        if (!c.ok && c.remedy[0])
            printf("      try: %s\n", c.remedy);
    }
    printf("%s\n", cubby_report_usable(report) ? "This host can run boxes." : "This host cannot run boxes.");
}

static int run_doctor(const void *settings, char **words, char **command)
{
    const struct doctor_settings *s = settings;
    const struct cubby_doctor_options options = {.size = sizeof(options), .assets = s->assets};
    struct cubby_report *report;
    struct cubby_error e;
    if (words[0] || command[0])
        return complain(EXIT_CUBBY, "doctor: '%.60s' is too much; see 'cubby doctor --help'",
                        words[0] ? words[0] : command[0]);
    if (cubby_doctor(&report, &options, &e) < 0)
        return complain(EXIT_CUBBY, "%s", e.message);
    if (s->json)
        printf("%s\n", cubby_report_json(report));
    else
        print_report(report);
    int code = cubby_report_usable(report) ? 0 : 1;
    cubby_report_free(report);
    return code;
}

static const struct opt doctor_options[] = {
    {"json", 0, OPT_FLAG, NULL, "print the findings as JSON", offsetof(struct doctor_settings, json), 0, 0},
    {"assets", 0, OPT_STRING, "DIR", "folder with cubby-vmm, vmlinux, initrd.cpio, default.ext4",
     offsetof(struct doctor_settings, assets), 0, 0},
    {0},
};

static const char *const doctor_examples[] = {
    "cubby doctor",
    "says what is missing for boxes to run, and what to do",
    "cubby doctor --json | jq .usable",
    "the same for a script; the exit code alone says it, too",
    NULL,
};

const struct verb verb_doctor = {
    .name = "doctor",
    .summary = "finds out whether this host can run boxes",
    .usage = "[OPTION…]",
    .description =
        "Finds out whether this host can run boxes: files, folders, memory, /dev/kvm, each capability\n"
        "of KVM that is used, and small guests that do what kernels do. Exit code 0 when a box can\n"
        "run, 1 when something that is needed is missing.",
    .options = doctor_options,
    .examples = doctor_examples,
    .settings_size = sizeof(struct doctor_settings),
    .run = run_doctor,
};
