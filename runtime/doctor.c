/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the report is one JSON object from the start: our own checks, then those of cubby-vmm
 * --probe, which come in the same form. So what people read and what programs read cannot differ, and strings
 * live as long as the object.
 */
#include "base/own.h"
#include "cubby.h"
#include "runtime/assets.h"
#include "runtime/errors.h"
#include "runtime/folder.h"
#include "runtime/kvm_probe.h"
#include "runtime/options.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMORY_FOR_A_BOX_MIB CUBBY_MEMORY_MIB_DEFAULT

struct cubby_report {
    json_t *root;
    json_t *checks; /* borrowed from root */
    char *text;
};

/* One check. `remedy` is for the case that it failed. Texts of others are made printable first. */
static void add(struct cubby_report *r, const char *name, bool ok, bool required, const char *detail,
                const char *remedy)
{
    char printable[2 * CUBBY_ERROR_TEXT];
    snprintf(printable, sizeof(printable), "%s", detail);
    text_make_printable(printable, 0);
    json_array_append_new(r->checks,
                          json_pack("{s:s, s:b, s:b, s:s, s:s}", "name", name, "ok", (int)ok, "required",
                                    (int)required, "detail", printable, "remedy", ok ? "" : remedy));
}

static void check_runtime_folder(struct cubby_report *r)
{
    struct box_folder folder;
    struct err e;
    if (folder_create(&folder, &e) < 0) {
        add(r, "runtime-folder", false, true, e.text,
            "set XDG_RUNTIME_DIR to a short path of a folder of yours");
        return;
    }
    char detail[BOX_PATH_MAX + 64];
    snprintf(detail, sizeof(detail), "boxes can be kept in %s", folder.base);
    add(r, "runtime-folder", true, true, detail, "");
    folder_remove(&folder);
}

static bool check_asset(struct cubby_report *r, enum asset a, const char *folders)
{
    char path[PATH_MAX];
    struct err e;
    bool ok = asset_find(a, folders, path, &e) == 0 && file_check(asset_file(a), path, &e) == 0;
    if (ok && a == ASSET_VMM && access(path, X_OK) < 0)
        ok = err_sys(&e, "cannot execute '%s'", path) == 0;
    add(r, asset_file(a), ok, true, ok ? path : e.text, "build it: 'make all' in cubby's source tree");
    return ok;
}

/* What the kernel thinks can be had without swapping; a hint, because a box uses memory as its guest touches
 * it. */
static void check_memory(struct cubby_report *r)
{
    CLEANUP(mem_freep) char *line = NULL;
    size_t cap = 0;
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && getline(&line, &cap, f) > 0 && sscanf(line, "MemAvailable: %llu kB", &kib) != 1)
        ;
    if (f)
        fclose(f);
    char detail[96];
    snprintf(detail, sizeof(detail), "%llu MiB are available, a box has %d MiB by default", kib / 1024,
             MEMORY_FOR_A_BOX_MIB);
    add(r, "memory", kib / 1024 >= MEMORY_FOR_A_BOX_MIB, false, detail,
        "give boxes less: cubby run --memory 128");
}

/* A check of the probe has all its members in the right types, or is left out. */
static void add_probe_check(struct cubby_report *r, const json_t *c)
{
    const char *name = json_string_value(json_object_get(c, "name"));
    const char *detail = json_string_value(json_object_get(c, "detail"));
    const char *remedy = json_string_value(json_object_get(c, "remedy"));
    const json_t *ok = json_object_get(c, "ok"), *required = json_object_get(c, "required");
    if (name && detail && remedy && json_is_boolean(ok) && json_is_boolean(required))
        add(r, name, json_is_true(ok), json_is_true(required), detail, remedy);
}

static void check_kvm(struct cubby_report *r, const char *folders)
{
    char vmm[PATH_MAX], base[BOX_PATH_MAX];
    struct err e;
    json_t *answer = NULL;
    if (asset_find(ASSET_VMM, folders, vmm, &e) == 0)
        answer = kvm_probe_run(vmm, &e);
    if (!answer) {
        add(r, "kvm-probe", false, true, e.text, "run 'cubby-vmm --probe' by hand to see what it says");
        return;
    }
    size_t i;
    json_t *check;
    json_array_foreach(json_object_get(answer, "checks"), i, check)
    {
        add_probe_check(r, check);
    }
    enum kvm_verdict verdict = kvm_probe_verdict(answer, &e);
    if (verdict != KVM_USABLE)
        add(r, "kvm", false, true, "this host's KVM cannot run boxes, see above",
            "use another host, or the lab: lab/run -- COMMAND");
    if (folder_base(base, NULL) == 0)
        kvm_cache_write(base, vmm, verdict, e.text);
    json_decref(answer);
}

static bool passed(const json_t *check)
{
    return json_is_true(json_object_get(check, "ok")) || json_is_false(json_object_get(check, "required"));
}

static bool all_passed(const struct cubby_report *r)
{
    size_t i;
    json_t *check;
    json_array_foreach(r->checks, i, check)
    {
        if (!passed(check))
            return false;
    }
    return true;
}

static int examine(struct cubby_report *r, const char *folders, struct cubby_error *error)
{
    r->checks = json_array();
    r->root = json_object();
    if (!r->root || json_object_set_new(r->root, "checks", r->checks) < 0)
        return fail(error, CUBBY_ERESOURCE, "no memory for a report");
    check_runtime_folder(r);
    bool have_vmm = check_asset(r, ASSET_VMM, folders);
    check_asset(r, ASSET_KERNEL, folders);
    check_asset(r, ASSET_INITRD, folders);
    check_asset(r, ASSET_ROOTFS, folders);
    check_memory(r);
    if (have_vmm)
        check_kvm(r, folders);
    json_object_set_new(r->root, "usable", json_boolean(all_passed(r)));
    r->text = json_dumps(r->root, JSON_INDENT(2));
    return r->text ? 0 : fail(error, CUBBY_ERESOURCE, "no memory for a report");
}

int cubby_doctor(struct cubby_report **out, const struct cubby_doctor_options *options,
                 struct cubby_error *error)
{
    struct cubby_doctor_options o;
    if (!out)
        return fail(error, CUBBY_EARGUMENT, "cubby_doctor: out is NULL");
    *out = NULL;
    int ret = options_copy(&o, sizeof(o), sizeof(o), options, error);
    if (ret < 0)
        return ret;
    struct cubby_report *r = calloc(1, sizeof(*r));
    if (!r)
        return fail(error, CUBBY_ERESOURCE, "no memory for a report");
    ret = examine(r, o.assets, error);
    if (ret < 0)
        cubby_report_free(r);
    else
        *out = r;
    return ret;
}

int cubby_report_usable(const struct cubby_report *r)
{
    return r && json_is_true(json_object_get(r->root, "usable"));
}

size_t cubby_report_count(const struct cubby_report *r)
{
    return r ? json_array_size(r->checks) : 0;
}

int cubby_report_check(const struct cubby_report *r, size_t index, struct cubby_check *check)
{
    if (!r || !check || index >= json_array_size(r->checks))
        return CUBBY_EARGUMENT;
    const json_t *c = json_array_get(r->checks, index);
    *check = (struct cubby_check){
        .name = json_string_value(json_object_get(c, "name")),
        .ok = json_is_true(json_object_get(c, "ok")),
        .required = json_is_true(json_object_get(c, "required")),
        .detail = json_string_value(json_object_get(c, "detail")),
        .remedy = json_string_value(json_object_get(c, "remedy")),
    };
    return 0;
}

const char *cubby_report_json(const struct cubby_report *r)
{
    return r ? r->text : "{}";
}

void cubby_report_free(struct cubby_report *r)
{
    if (!r)
        return;
    json_decref(r->root);
    free(r->text);
    free(r);
}
