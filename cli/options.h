/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands and their options as tables: one entry makes the parser accept an option and --help explain it, so
 * the two cannot drift apart.
 */
#ifndef CUBBY_CLI_OPTIONS_H
#define CUBBY_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define USAGE_TEXT_MAX 256

enum opt_type {
    OPT_FLAG,     /* bool */
    OPT_STRING,   /* const char *, not empty */
    OPT_TEXT,     /* const char *, may be empty */
    OPT_CHOICE,   /* unsigned: which of the words of `value`, which has '|' between them */
    OPT_LIST,     /* struct word_list; may be repeated */
    OPT_NUMBER,   /* uint64_t, min to max */
    OPT_MEMORY,   /* uint64_t MiB, min to max */
    OPT_PARTS,    /* uint64_t thousandths, min to max, written as a decimal fraction */
    OPT_DURATION, /* uint64_t milliseconds, up to max; 0: no bound */
};

struct opt {
    const char *name; /* without "--"; NULL ends a table */
    char letter;      /* 0: none */
    enum opt_type type;
    const char *value; /* what --help calls it; NULL for flags */
    const char *help;  /* a line feed starts a further line */
    size_t offset;     /* of the member in the command's settings */
    unsigned long long min, max;
};

struct word_list {
    const char **words; /* a heap block; the words belong to argv */
    size_t count;
};

struct verb {
    const char *name, *summary;
    const char *usage; /* behind "cubby NAME " */
    const char *description;
    const struct opt *options;
    const char *const *examples; /* pairs: a command, what it does; NULL ends */
    size_t settings_size;        /* of the struct that options fill; zeroed before */
    bool command_follows;        /* the first word ends the options: what stands behind it is the command */
    /* A command of commands: its next word chooses one of these, NULL ends, and nothing else here but name
     * and description counts. Their names have that of this one in front: "image rm". */
    const struct verb *const *verbs;
    /* Does it. `words` are the arguments that are no options, `command` those behind "--" or, where it
     * follows a word, behind that; both end with NULL. Returns the exit code. */
    int (*run)(const void *settings, char **words, char **command);
};

/* What was found on a command line. */
struct parsed {
    void *settings;
    char **words;   /* heap block */
    char **command; /* into argv; an empty list when there is no "--" */
    bool help;
    const struct verb *verb;
};

/*
 * Reads the arguments of a command, argv[0] being the first behind its name; `argv` ends with NULL. 0, or -1
 * with `why` saying what is wrong. Afterwards, in both cases, parsed_fini().
 */
int options_parse(struct parsed *p, const struct verb *verb, char **argv, char why[USAGE_TEXT_MAX]);
void parsed_fini(struct parsed *p);

/* The text of `cubby NAME --help`. */
void options_help(const struct verb *verb, FILE *to);
/* The lines that tell what there is: name and summary of each. */
void options_list_verbs(const struct verb *const *verbs, FILE *to);
/* The last word of its name. */
const char *verb_word(const struct verb *verb);

/* The word of `words` (NULL-terminated) that `typed` is probably meant to be, or NULL. */
const char *suggest(const char *typed, const char *const *words);

#endif
