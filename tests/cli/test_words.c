/* SPDX-License-Identifier: Apache-2.0 */
/* The words of the command line: amounts, options, suggestions, environments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "cli/environment.h"
#include "cli/pull_view.h"
#include "cli/timeline.h"
#include "cli/ulimit.h"
#include "cli/values.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* ---- amounts
 * ----------------------------------------------------------------------------------------------*/

static void durations_are_read_exactly(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"1ms", 1},
                {"500ms", 500},
                {"1s", 1000},
                {"90", 90000},
                {"1.5s", 1500},
                {"0.001s", 1},
                {"2m", 120000},
                {"1h", 3600000},
                {"1d", 86400000},
                {"2M", 120000},
                {"0.5m", 30000},
                {"1.25h", 4500000},
                {"10950d", UINT64_C(946080000000)}};
    static const char *const bad[] = {"",
                                      "s",
                                      "0",
                                      "0s",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 s",
                                      "1.s",
                                      ".5s",
                                      "1..5s",
                                      "1.5ms",
                                      "1x",
                                      "1ss",
                                      "1e3",
                                      "0x10",
                                      "nan",
                                      "10951d",
                                      "99999999999999999999",
                                      "18446744073709551616ms",
                                      "1.0000000001s",
                                      "0.0001s",
                                      "1s2"};
    uint64_t ms;
    for (size_t i = 0; i < LEN(good); i++) {
        assert_true(parse_duration(good[i].text, &ms));
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < LEN(bad); i++) {
        if (parse_duration(bad[i], &ms))
            fail_msg("'%s' was taken for a duration", bad[i]);
    }
}

static void sizes_are_read_exactly(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t mib;
    } good[] = {{"512", 512},   {"512M", 512},  {"512m", 512},    {"512MiB", 512},
                {"512mb", 512}, {"2G", 2048},   {"1.5GiB", 1536}, {"1T", 1048576},
                {"65536K", 64}, {"1024KiB", 1}, {"0.5g", 512}};
    static const char *const bad[] = {"",
                                      "0",
                                      "0M",
                                      "M",
                                      "1.5K",
                                      "1000K",
                                      "-5",
                                      "5 M",
                                      "5Mi",
                                      "5B",
                                      "0.1M",
                                      "1e3",
                                      "99999999999999999999G",
                                      "18446744073709551615T"};
    uint64_t mib;
    for (size_t i = 0; i < LEN(good); i++) {
        assert_true(parse_memory(good[i].text, &mib));
        assert_int_equal(mib, good[i].mib);
    }
    for (size_t i = 0; i < LEN(bad); i++) {
        if (parse_memory(bad[i], &mib))
            fail_msg("'%s' was taken for a size", bad[i]);
    }
}

static void fractions_are_read_exactly(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t thousandths;
    } good[] = {{"1", 1000}, {"0.5", 500}, {"1.25", 1250}, {"64", 64000}, {"0.001", 1}, {"1.5000", 1500}};
    static const char *const bad[] = {"", "0", "0.0", ".5", "1.", "-1", "1,5", "1.0005", "1e3", "1.5x"};
    uint64_t n;
    for (size_t i = 0; i < LEN(good); i++)
        assert_true(parse_thousandths(good[i].text, &n) && n == good[i].thousandths);
    for (size_t i = 0; i < LEN(bad); i++) {
        if (parse_thousandths(bad[i], &n))
            fail_msg("'%s' was taken for a fraction", bad[i]);
    }
}

static void limits_of_processes_have_names(void **state)
{
    (void)state;
    static const struct {
        const char *word;
        int resource;
        uint64_t soft, hard;
    } good[] = {{"nofile=1024:2048", 7, 1024, 2048},
                {"core=0", 4, 0, 0},
                {"as=1:unlimited", 9, 1, UINT64_MAX},
                {"stack=-1", 3, UINT64_MAX, UINT64_MAX},
                {"rttime=18446744073709551614", 15, UINT64_MAX - 1, UINT64_MAX - 1}};
    static const struct {
        const char *word, *words;
    } bad[] = {{"", "form NAME=SOFT"},
               {"nofile", "form NAME=SOFT"},
               {"=1", "no limit is called ''; there are as"},
               {"NOFILE=1", "no limit is called 'NOFILE'"},
               {"nofil=1", "sigpending, stack"},
               {"nofile=", "whole number"},
               {"nofile=:", "whole number"},
               {"nofile=1:", "whole number"},
               {"nofile=:1", "whole number"},
               {"nofile=1:2:3", "whole number"},
               {"nofile=1k", "whole number"},
               {"nofile=-2", "whole number"},
               {"nofile=18446744073709551616", "whole number"},
               {"nofile=111111111111111111111111111111111111111111111", "whole number"},
               {"nofile=2:1", "soft limit is above"},
               {"nofile=unlimited:1", "soft limit is above"}};
    char why[USAGE_TEXT_MAX];
    struct ulimits u = {0};
    for (size_t i = 0; i < LEN(good); i++) {
        if (ulimits_add(&u, good[i].word, why) < 0)
            fail_msg("%s: %s", good[i].word, why);
        assert_int_equal(u.count, i + 1);
        assert_int_equal(u.limits[i].resource, good[i].resource);
        assert_true(u.limits[i].soft == good[i].soft && u.limits[i].hard == good[i].hard);
    }
    assert_int_equal(ulimits_add(&u, "core=5", why), 0); /* in the place of the other */
    assert_int_equal(u.count, LEN(good));
    assert_int_equal(u.limits[1].soft, 5);
    for (size_t i = 0; i < LEN(bad); i++) {
        if (ulimits_add(&u, bad[i].word, why) == 0 || !strstr(why, bad[i].words))
            fail_msg("'%s': '%s'", bad[i].word, why);
    }
    assert_int_equal(u.count, LEN(good));
}

static void numbers_are_decimal_and_bounded(void **state)
{
    (void)state;
    uint64_t n;
    assert_true(parse_number("0", 10, &n) && n == 0);
    assert_true(parse_number("10", 10, &n) && n == 10);
    assert_true(parse_number("18446744073709551615", UINT64_MAX, &n) && n == UINT64_MAX);
    assert_false(parse_number("11", 10, &n));
    assert_false(parse_number("18446744073709551616", UINT64_MAX, &n));
    assert_false(parse_number("", 10, &n));
    assert_false(parse_number("1a", 10, &n));
    assert_false(parse_number("-1", 10, &n));
}

static void sizes_and_times_are_told_in_a_few_characters(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } sizes[] = {{0, "0 B"},        {1023, "1023 B"},     {1024, "1.0 KiB"},      {1535, "1.4 KiB"},
                 {1536, "1.5 KiB"}, {1 << 20, "1.0 MiB"}, {47815066, "45.5 MiB"}, {UINT64_MAX, "15.9 EiB"}};
    static const struct {
        int64_t age;
        const char *text;
    } ages[] = {{-5, "now"},
                {0, "now"},
                {1, "1 second ago"},
                {119, "119 seconds ago"},
                {120, "2 minutes ago"},
                {7200, "2 hours ago"},
                {2 * 86400, "2 days ago"},
                {20 * 86400, "2 weeks ago"},
                {90 * 86400, "3 months ago"},
                {1000 * 86400, "2 years ago"}};
    char size[SIZE_TEXT_MAX], ago[AGO_TEXT_MAX];
    for (size_t i = 0; i < LEN(sizes); i++)
        assert_string_equal(format_size(sizes[i].bytes, size), sizes[i].text);
    for (size_t i = 0; i < LEN(ages); i++)
        assert_string_equal(format_ago(1700000000 - ages[i].age, 1700000000, ago), ages[i].text);
}

/* ---- the picture of a pull
 * -----------------------------------------------------------------------------*/

static void a_line_of_a_pull_fits_the_terminal(void **state)
{
    (void)state;
    char line[512];
    struct pull_row row = {
        .digest = "0123456789ab", .phase = CUBBY_PULL_DOWNLOADING, .have = 512, .total = 1024};
    pull_view_line(&row, 79, line, sizeof(line));
    assert_string_equal(line, "  0123456789ab  downloading  [=========>        ] 512 B / 1.0 KiB");
    row.have = 1024;
    pull_view_line(&row, 79, line, sizeof(line));
    assert_string_equal(line, "  0123456789ab  downloading  [==================] 1.0 KiB / 1.0 KiB");
    row.have = 9999; /* more than was said: no picture of it */
    pull_view_line(&row, 79, line, sizeof(line));
    assert_string_equal(line, "  0123456789ab  downloading");
    row.have = 1;
    for (unsigned columns = 0; columns < 300; columns++) {
        pull_view_line(&row, columns, line, sizeof(line));
        assert_true(strlen(line) <= columns);
    }
    row.phase = CUBBY_PULL_RETRYING;
    snprintf(row.reason, sizeof(row.reason), "in 0.5 s: %0140d", 0);
    pull_view_line(&row, 60, line, sizeof(line));
    assert_int_equal(strlen(line), 60);
    row.phase = 99; /* of a newer library */
    pull_view_line(&row, 60, line, sizeof(line));
    assert_string_equal(line, "  0123456789ab  waiting");
}

/* ---- options
 * ----------------------------------------------------------------------------------------------*/

struct settings {
    bool a, b;
    const char *string;
    struct word_list list;
    uint64_t number, memory, duration;
    const char *text;
    unsigned choice;
};

static const struct opt table[] = {
    {"alpha", 'a', OPT_FLAG, NULL, "a flag", offsetof(struct settings, a), 0, 0},
    {"beta", 'b', OPT_FLAG, NULL, "another\nwith two lines", offsetof(struct settings, b), 0, 0},
    {"string", 's', OPT_STRING, "WORD", "a word", offsetof(struct settings, string), 0, 0},
    {"list", 'l', OPT_LIST, "WORD", "words", offsetof(struct settings, list), 0, 0},
    {"number", 'n', OPT_NUMBER, "N", "a number", offsetof(struct settings, number), 1, 64},
    {"memory", 0, OPT_MEMORY, "SIZE", "a size", offsetof(struct settings, memory), 32, 4096},
    {"duration", 0, OPT_DURATION, "TIME", "a time", offsetof(struct settings, duration), 0, 3600000},
    {"text", 0, OPT_TEXT, "WORD", "a word, perhaps empty", offsetof(struct settings, text), 0, 0},
    {"choice", 0, OPT_CHOICE, "one|two|three", "one of three", offsetof(struct settings, choice), 0, 0},
    {0},
};

static const char *const examples[] = {"cubby test --alpha", "does it", NULL};
static const struct verb verb = {.name = "test",
                                 .summary = "tests",
                                 .usage = "[OPTION…]",
                                 .description = "Tests.",
                                 .options = table,
                                 .examples = examples,
                                 .settings_size = sizeof(struct settings)};

/* Splits `line` at blanks and parses it; the words live until the next call. */
static int parse_as(const struct verb *v, struct parsed *p, const char *line, char why[USAGE_TEXT_MAX])
{
    static char copy[300];
    static char *argv[32];
    size_t n = 0;
    snprintf(copy, sizeof(copy), "%s", line);
    for (char *rest = copy, *word; (word = strsep(&rest, " "));) {
        if (*word || line[0])
            argv[n++] = word;
    }
    argv[n] = NULL;
    why[0] = '\0';
    return options_parse(p, v, argv, why);
}

static int parse(struct parsed *p, const char *line, char why[USAGE_TEXT_MAX])
{
    return parse_as(&verb, p, line, why);
}

static void options_are_taken_in_every_form(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "--alpha -b --string x --list=1 -l 2 -l3 --number 7 --memory 1G --duration 5s",
        "-ab -sx -l1 --list 2 --list=3 -n7 --memory=1024M --duration=5000ms",
        "-abs x -l 1 -l 2 -l 3 -n 7 --memory 1048576K --duration 5",
    };
    for (size_t i = 0; i < LEN(lines); i++) {
        char why[USAGE_TEXT_MAX];
        struct parsed p;
        if (parse(&p, lines[i], why) < 0)
            fail_msg("%s: %s", lines[i], why);
        const struct settings *s = p.settings;
        assert_true(s->a && s->b);
        assert_string_equal(s->string, "x");
        assert_int_equal(s->list.count, 3);
        assert_string_equal(s->list.words[2], "3");
        assert_null(s->list.words[3]);
        assert_int_equal(s->number, 7);
        assert_int_equal(s->memory, 1024);
        assert_int_equal(s->duration, 5000);
        assert_null(p.words[0]);
        assert_null(p.command[0]);
        parsed_fini(&p);
    }
}

static void choices_are_numbers_and_texts_may_be_empty(void **state)
{
    (void)state;
    static const char *const words[] = {"one", "two", "three"};
    for (unsigned i = 0; i < LEN(words); i++) {
        char why[USAGE_TEXT_MAX], line[64];
        struct parsed p;
        snprintf(line, sizeof(line), "--choice %s --text=", words[i]);
        assert_int_equal(parse(&p, line, why), 0);
        const struct settings *s = p.settings;
        assert_int_equal(s->choice, i);
        assert_string_equal(s->text, "");
        parsed_fini(&p);
    }
}

/* As `cubby run` has it: the first word is the image, what follows the command, whatever it looks like. */
static void behind_the_word_may_come_the_command(void **state)
{
    (void)state;
    static const struct {
        const char *line, *word, *command[4];
    } cases[] = {
        {"-a image", "image", {NULL}},
        {"-a image x --beta", "image", {"x", "--beta"}},
        {"image --string", "image", {"--string"}},
        {"image -- x -- y", "image", {"x", "--", "y"}},
        {"image --", "image", {NULL}},
        {"-a -- image x", NULL, {"image", "x"}},
    };
    struct verb follows = verb;
    follows.command_follows = true;
    for (size_t i = 0; i < LEN(cases); i++) {
        char why[USAGE_TEXT_MAX];
        struct parsed p;
        assert_int_equal(parse_as(&follows, &p, cases[i].line, why), 0);
        if (cases[i].word)
            assert_string_equal(p.words[0], cases[i].word);
        assert_null(p.words[cases[i].word ? 1 : 0]);
        size_t n = 0;
        for (; cases[i].command[n]; n++)
            assert_string_equal(p.command[n], cases[i].command[n]);
        assert_null(p.command[n]);
        assert_false(((struct settings *)p.settings)->b);
        parsed_fini(&p);
    }
}

static void what_stands_behind_two_dashes_is_the_command(void **state)
{
    (void)state;
    char why[USAGE_TEXT_MAX];
    struct parsed p;
    assert_int_equal(parse(&p, "one -a two -- --alpha -- x", why), 0);
    assert_string_equal(p.words[0], "one");
    assert_string_equal(p.words[1], "two");
    assert_null(p.words[2]);
    assert_string_equal(p.command[0], "--alpha");
    assert_string_equal(p.command[1], "--");
    assert_string_equal(p.command[2], "x");
    assert_null(p.command[3]);
    parsed_fini(&p);
    assert_int_equal(parse(&p, "-", why), 0);
    assert_string_equal(p.words[0], "-"); /* a word */
    parsed_fini(&p);
}

static void help_is_always_an_option(void **state)
{
    (void)state;
    char why[USAGE_TEXT_MAX];
    struct parsed p;
    static const char *const lines[] = {"--help", "-h", "-ah", "--alpha --help"};
    for (size_t i = 0; i < LEN(lines); i++) {
        assert_int_equal(parse(&p, lines[i], why), 0);
        assert_true(p.help);
        parsed_fini(&p);
    }
    assert_int_equal(parse(&p, "-- --help", why), 0);
    assert_false(p.help);
    parsed_fini(&p);
}

static void mistakes_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *line, *words;
    } cases[] = {
        {"--alhpa", "did you mean '--alpha'"},
        {"--strin=x", "did you mean '--string'"},
        {"--helpp", "did you mean '--help'"},
        {"--zzz", "unknown option '--zzz'"},
        {"-z", "unknown option '-z'"},
        {"-az", "unknown option '-z'"},
        {"--alpha=1", "--alpha takes no value"},
        {"--string", "--string needs a value: WORD"},
        {"--string -- x", "--string needs a value"},
        {"-s", "needs a value"},
        {"--string=", "is empty"},
        {"--number x", "'x' is not a number"},
        {"--number -5", "'-5' is not a number"},
        {"--number 0", "choose 1 to 64"},
        {"--number 1000", "'1000' is out of range"},
        {"--number 99999999999999999999", "not a number"},
        {"--memory 1M", "choose 32 to 4096 MiB"},
        {"--memory lots", "'lots' is not a size"},
        {"--duration soon", "'soon' is not a duration"},
        {"--duration 2h", "too long"},
        {"--choice four", "'four' is none of one|two|three"},
        {"--choice tw", "is none of"},
        {"--choice one|two", "is none of"},
        {"--choice=", "is none of"},
        {"--text", "needs a value"},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        char why[USAGE_TEXT_MAX];
        struct parsed p;
        int ret = parse(&p, cases[i].line, why);
        parsed_fini(&p);
        assert_int_equal(ret, -1);
        if (!strstr(why, cases[i].words))
            fail_msg("%s: '%s'", cases[i].line, why);
    }
}

/* What a function prints to a stream. */
static char *printed_help(const struct verb *v)
{
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    options_help(v, f);
    fclose(f);
    return text;
}

static void check_help(const struct verb *v)
{
    char *text = printed_help(v);
    char name[64];
    assert_non_null(strstr(text, "Usage: cubby"));
    assert_non_null(strstr(text, v->verbs ? "Commands:" : "Examples:"));
    for (const struct opt *o = v->options; o && o->name; o++) {
        snprintf(name, sizeof(name), "--%s", o->name);
        assert_non_null(strstr(text, name));
    }
    for (const struct verb *const *w = v->verbs; w && *w; w++)
        assert_non_null(strstr(text, verb_word(*w)));
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 110);
    free(text);
}

/* Calls it for each command, and each command of a command. */
static void for_each_verb(const struct verb *const *among, void (*check)(const struct verb *))
{
    for (const struct verb *const *v = among; *v; v++) {
        check(*v);
        if ((*v)->verbs)
            for_each_verb((*v)->verbs, check);
    }
}

static void help_explains_every_option_of_every_command(void **state)
{
    (void)state;
    for_each_verb(verbs, check_help);
}

static void check_table(const struct verb *v)
{
    for (const struct opt *o = v->options; o && o->name; o++) {
        assert_true((o->value == NULL) == (o->type == OPT_FLAG));
        for (const struct opt *other = v->options; other != o; other++) {
            assert_string_not_equal(o->name, other->name);
            assert_true(!o->letter || o->letter != other->letter);
        }
    }
}

static void tables_have_no_option_twice(void **state)
{
    (void)state;
    for_each_verb(verbs, check_table);
}

static void suggestions_are_close_or_none(void **state)
{
    (void)state;
    static const char *const words[] = {"run", "doctor", "version", "help", NULL};
    static const struct {
        const char *typed, *meant;
    } cases[] = {{"rnu", "run"},       {"rum", "run"},
                 {"runn", "run"},      {"docter", "doctor"},
                 {"dcotor", "doctor"}, {"verison", "version"},
                 {"hlep", "help"},     {"xyz", NULL},
                 {"", NULL},           {"internationalization-of-words-x", NULL}};
    for (size_t i = 0; i < LEN(cases); i++) {
        const char *found = suggest(cases[i].typed, words);
        if (cases[i].meant)
            assert_string_equal(found, cases[i].meant);
        else
            assert_null(found);
    }
}

/* ---- environments
 * -----------------------------------------------------------------------------------------*/

static void variables_are_set_replaced_and_taken_from_ours(void **state)
{
    (void)state;
    struct environment e = {0};
    char why[USAGE_TEXT_MAX];
    setenv("CUBBY_TEST_OURS", "here", 1);
    unsetenv("CUBBY_TEST_NONE");
    assert_int_equal(environment_add(&e, "A=1", why), 0);
    assert_int_equal(environment_add(&e, "AB=2", why), 0);
    assert_int_equal(environment_add(&e, "A=3=4", why), 0);
    assert_int_equal(environment_add(&e, "CUBBY_TEST_OURS", why), 0);
    assert_int_equal(environment_add(&e, "CUBBY_TEST_NONE", why), 0);
    assert_int_equal(environment_add(&e, "EMPTY=", why), 0);
    assert_int_equal(e.count, 4);
    assert_string_equal(e.vars[0], "A=3=4");
    assert_string_equal(e.vars[1], "AB=2");
    assert_string_equal(e.vars[2], "CUBBY_TEST_OURS=here");
    assert_string_equal(e.vars[3], "EMPTY=");
    assert_null(e.vars[4]);
    assert_int_equal(environment_add(&e, "=x", why), -1);
    assert_int_equal(environment_add(&e, "", why), -1);
    environment_fini(&e);
    environment_fini(&e);
}

static int add_file(struct environment *e, const char *bytes, size_t len, char why[USAGE_TEXT_MAX])
{
    char path[] = "/tmp/cubby-test-env-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, bytes, len), len);
    close(fd);
    int ret = environment_add_file(e, path, why);
    unlink(path);
    return ret;
}

static void files_of_variables_are_read(void **state)
{
    (void)state;
    struct environment e = {0};
    char why[USAGE_TEXT_MAX];
    static const char text[] = "# comment\n\nA=1\r\nB=two words # kept\nA=2";
    assert_int_equal(add_file(&e, text, sizeof(text) - 1, why), 0);
    assert_int_equal(e.count, 2);
    assert_string_equal(e.vars[0], "A=2");
    assert_string_equal(e.vars[1], "B=two words # kept");
    assert_int_equal(add_file(&e, "A=1\n=2\n", 7, why), -1);
    assert_non_null(strstr(why, "line 2"));
    assert_int_equal(add_file(&e, "A=\0b\n", 5, why), -1);
    assert_non_null(strstr(why, "not text"));
    assert_int_equal(environment_add_file(&e, "/nonexistent", why), -1);
    assert_non_null(strstr(why, "'/nonexistent'"));
    assert_int_equal(environment_add_file(&e, "/tmp", why), -1);
    environment_fini(&e);
}

/* ---- the timeline's table
 * ---------------------------------------------------------------------------------*/

static void the_table_shows_time_step_and_counts(void **state)
{
    (void)state;
    static const struct cubby_mark marks[] = {
        {"spawn", 0, 0},
        {"first-run", 1500000, 0},
        {"exec-result", 42000000, 0},
        {"exits_until_ready/total", 0, 300},
        {"exits_until_ready/mmio", 0, 200},
        {"exits_until_ready/io", 0, 100},
        {"exits/total", 0, 310},
    };
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    timeline_print(marks, LEN(marks), f);
    fclose(f);
    assert_non_null(strstr(text, "first-run                       1.500        1.500\n"));
    assert_non_null(strstr(text, "exec-result                    42.000       40.500\n"));
    assert_non_null(strstr(text, "until ready: 300 (mmio 200, io 100)\n"));
    assert_non_null(strstr(text, "in all: 310\n"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_read_exactly),
        cmocka_unit_test(sizes_are_read_exactly),
        cmocka_unit_test(fractions_are_read_exactly),
        cmocka_unit_test(limits_of_processes_have_names),
        cmocka_unit_test(numbers_are_decimal_and_bounded),
        cmocka_unit_test(sizes_and_times_are_told_in_a_few_characters),
        cmocka_unit_test(a_line_of_a_pull_fits_the_terminal),
        cmocka_unit_test(choices_are_numbers_and_texts_may_be_empty),
        cmocka_unit_test(behind_the_word_may_come_the_command),
        cmocka_unit_test(options_are_taken_in_every_form),
        cmocka_unit_test(what_stands_behind_two_dashes_is_the_command),
        cmocka_unit_test(help_is_always_an_option),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(help_explains_every_option_of_every_command),
        cmocka_unit_test(tables_have_no_option_twice),
        cmocka_unit_test(suggestions_are_close_or_none),
        cmocka_unit_test(variables_are_set_replaced_and_taken_from_ours),
        cmocka_unit_test(files_of_variables_are_read),
        cmocka_unit_test(the_table_shows_time_step_and_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
