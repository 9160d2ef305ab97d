/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a table of commands. The first word chooses one; its own table reads the rest. Errors
 * are one line on stderr and exit code 125, because stdout and all other codes belong to the command in the
 * box.
 */
#include "cli/cli.h"

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#define VERBS_MAX 32

const struct verb *const verbs[] = {&verb_run,    &verb_pull,    &verb_images, &verb_image,
                                    &verb_doctor, &verb_version, &verb_help,   NULL};

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
    options_list_verbs(verbs, to);
    fprintf(to, "\n'cubby COMMAND --help' explains a command. A first box: cubby run -- uname -a\n");
}

static const struct verb *find_verb(const struct verb *const *among, const char *word)
{
    for (const struct verb *const *v = among; *v; v++) {
        if (strcmp(verb_word(*v), word) == 0)
            return *v;
    }
    return NULL;
}

/* `of` is the command of commands that it was given to; NULL: cubby itself. */
static int unknown_verb(const struct verb *of, const char *word)
{
    const char *names[VERBS_MAX + 1] = {0};
    const struct verb *const *among = of ? of->verbs : verbs;
    for (size_t i = 0; i < VERBS_MAX && among[i]; i++)
        names[i] = verb_word(among[i]);
    const char *meant = suggest(word, names), *blank = of ? " " : "", *name = of ? of->name : "";
    if (meant)
        return complain(EXIT_CUBBY, "unknown command '%s%s%.60s'; did you mean '%s'?", name, blank, word,
                        meant);
    return complain(EXIT_CUBBY, "unknown command '%s%s%.60s'; 'cubby help%s%s' lists them", name, blank, word,
                    blank, name);
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

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* argv[0] is the word behind that of `verb`. */
static int run_verbs(const struct verb *verb, char **argv)
{
    if (!argv[0]) {
        options_help(verb, stderr);
        return EXIT_CUBBY;
    }
    if (is_help(argv[0])) {
        options_help(verb, stdout);
        return 0;
    }
    const struct verb *chosen = find_verb(verb->verbs, argv[0]);
    return chosen ? run_verb(chosen, argv + 1) : unknown_verb(verb, argv[0]);
}

int cli_main(char **argv)
{
    const char *word = argv[0] && argv[1] ? argv[1] : NULL;
    if (!word) {
        print_overview(stderr);
        return EXIT_CUBBY;
    }
    int code = 0;
    const struct verb *verb = find_verb(verbs, word);
    if (is_help(word))
        print_overview(stdout);
    else if (strcmp(word, "--version") == 0)
        printf("cubby %s\n", cubby_version());
    else if (verb && verb->verbs)
        code = run_verbs(verb, argv + 2);
    else
        code = verb ? run_verb(verb, argv + 2) : unknown_verb(NULL, word);
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
    const struct verb *verb = find_verb(verbs, words[0]), *of = NULL;
    if (verb && verb->verbs && words[1]) {
        of = verb;
        verb = find_verb(of->verbs, words[1]);
    }
    if (!verb)
        return unknown_verb(of, words[of ? 1 : 0]);
    options_help(verb, stdout);
    return 0;
}

static const char *const help_examples[] = {"cubby help run", "explains the command 'run'", NULL};

const struct verb verb_help = {
    .name = "help",
    .summary = "explains the commands",
    .usage = "[COMMAND [COMMAND]]",
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
