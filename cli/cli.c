/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a table of commands. The first word chooses one; its own table reads the rest. Errors
 * are one line on stderr and exit code 125, because stdout and all other codes belong to the command in the
 * box.
 */
#include "cli/cli.h"

#include <stdarg.h>
#include <string.h>

const struct verb *const verbs[] = {&verb_run, &verb_doctor, &verb_version, &verb_help, NULL};

int complain(int code, const char *fmt, ...)
{
    char text[CUBBY_ERROR_TEXT + 256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    fprintf(stderr, "cubby: %s\n", text);
    return code;
}

static void print_overview(FILE *to)
{
    fprintf(to, "Usage: cubby COMMAND …\n\n"
                "Runs commands in throw-away virtual machines.\n\nCommands:\n");
    for (const struct verb *const *v = verbs; *v; v++)
        fprintf(to, "  %-10s%s\n", (*v)->name, (*v)->summary);
    fprintf(to, "\n'cubby COMMAND --help' explains a command. A first box: cubby run -- uname -a\n");
}

static const struct verb *find_verb(const char *name)
{
    for (const struct verb *const *v = verbs; *v; v++) {
        if (strcmp((*v)->name, name) == 0)
            return *v;
    }
    return NULL;
}

static int unknown_verb(const char *name)
{
    const char *names[8] = {0};
    for (size_t i = 0; i < 7 && verbs[i]; i++)
        names[i] = verbs[i]->name;
    const char *meant = suggest(name, names);
    if (meant)
        return complain(EXIT_CUBBY, "unknown command '%.60s'; did you mean '%s'?", name, meant);
    return complain(EXIT_CUBBY, "unknown command '%.60s'; 'cubby help' lists them", name);
}

static int run_verb(const struct verb *verb, char **argv)
{
    char why[USAGE_TEXT_MAX];
    struct parsed p;
    int code = 0;
    if (options_parse(&p, verb, argv, why) < 0)
        code = complain(EXIT_CUBBY, "%s: %s; see 'cubby %s --help'", verb->name, why, verb->name);
    else if (p.help)
        options_help(verb, stdout);
    else
        code = verb->run(p.settings, p.words, p.command);
    parsed_fini(&p);
    return code;
}

int cli_main(char **argv)
{
    const char *word = argv[0] && argv[1] ? argv[1] : NULL;
    if (!word) {
        print_overview(stderr);
        return EXIT_CUBBY;
    }
    int code = 0;
    const struct verb *verb = find_verb(word);
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        print_overview(stdout);
    else if (strcmp(word, "--version") == 0)
        printf("cubby %s\n", cubby_version());
    else
        code = verb ? run_verb(verb, argv + 2) : unknown_verb(word);
    /* What was printed must have arrived, or scripts would take half of it for all. */
    if (fflush(stdout) != 0 && code == 0)
        code = complain(EXIT_CUBBY, "cannot write to stdout");
    return code;
}

/* ---- help and version
 * -------------------------------------------------------------------------------------*/

static int run_help(const void *settings, char **words, char **command)
{
    (void)settings, (void)command;
    if (!words[0]) {
        print_overview(stdout);
        return 0;
    }
    const struct verb *verb = find_verb(words[0]);
    if (!verb)
        return unknown_verb(words[0]);
    options_help(verb, stdout);
    return 0;
}

static const char *const help_examples[] = {"cubby help run", "explains the command 'run'", NULL};

const struct verb verb_help = {
    .name = "help",
    .summary = "explains the commands",
    .usage = "[COMMAND]",
    .description = "Lists the commands, or explains one.",
    .examples = help_examples,
    .run = run_help,
};

static int run_version(const void *settings, char **words, char **command)
{
    (void)settings, (void)command;
    if (words[0])
        return complain(EXIT_CUBBY, "version: '%.60s' is too much; see 'cubby version --help'", words[0]);
    printf("cubby %s\n", cubby_version());
    return 0;
}

static const char *const version_examples[] = {"cubby version", "prints one line, as \"cubby 0.1.0\"", NULL};

const struct verb verb_version = {
    .name = "version",
    .summary = "prints the version",
    .usage = "",
    .description = "Prints the version of the cubby command and its library.",
    .examples = version_examples,
    .run = run_version,
};
