/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: messages pass through text_make_printable() because they quote what others chose:
 * paths, the guest's panic text, the agent's sentences. A guest must not be able to send escape sequences to
 * the terminal of whoever reads an error.
 */
#include "runtime/errors.h"

#include "oci/oci_error.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

_Static_assert(CUBBY_ERROR_TEXT == ERR_TEXT_MAX, "a message of the lower layers fits");

/* Length of the valid, printable UTF-8 sequence at `s` (NUL-terminated), or 0. RFC 3629 §4. */
static size_t sequence_len(const unsigned char *s)
{
    static const struct {
        unsigned char mask, lead;
        size_t len;
        unsigned min;
    } kinds[] = {{0xE0, 0xC0, 2, 0x80}, {0xF0, 0xE0, 3, 0x800}, {0xF8, 0xF0, 4, 0x10000}};
    if (s[0] < 0x80)
        return s[0] >= 0x20 && s[0] != 0x7F;
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        if ((s[0] & kinds[k].mask) != kinds[k].lead)
            continue;
        unsigned point = s[0] & (unsigned char)~kinds[k].mask;
        for (size_t i = 1; i < kinds[k].len; i++) {
            if ((s[i] & 0xC0) != 0x80)
                return 0;
            point = point << 6 | (s[i] & 0x3F);
        }
        int surrogate = point >= 0xD800 && point <= 0xDFFF;
        int control = point < 0xA0;
        return point < kinds[k].min || surrogate || control || point > 0x10FFFF ? 0 : kinds[k].len;
    }
    return 0;
}

size_t text_make_printable(char *text, int lines)
{
    const unsigned char *from = (const unsigned char *)text;
    char *to = text;
    while (*from) {
        size_t len = sequence_len(from);
        if (len > 0) {
            memmove(to, from, len);
            from += len;
            to += len;
        } else if (*from == '\r' && from[1] == '\n') {
            from++;
        } else {
            char tame = *from == '\n' ? (lines ? '\n' : ' ') : *from == '\t' ? ' ' : '?';
            *to++ = tame;
            from++;
        }
    }
    *to = '\0';
    return (size_t)(to - text);
}

int fail(struct cubby_error *out, int code, const char *fmt, ...)
{
    if (!out)
        return code;
    struct err e;
    char text[2 * ERR_TEXT_MAX]; /* longer than a message, so that err_set() sees what must be cut */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    err_set(&e, code, "%s", text);
    out->code = code;
    memcpy(out->message, e.text, sizeof(out->message));
    text_make_printable(out->message, 0);
    return code;
}

static int code_of(int err_code, int otherwise)
{
    switch (-err_code) {
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EAGAIN:
        return CUBBY_ERESOURCE;
    case ENOSPC:
    case EDQUOT:
    case EIO:
    case EROFS:
        return CUBBY_ESTORAGE;
    case ECANCELED:
        return CUBBY_ESTOPPED;
    default:
        return otherwise;
    }
}

/* What concerns a registry or the bytes of an image is CUBBY_EIMAGE; the text tells them apart. */
static int code_of_image(int code)
{
    switch (code) {
    case OCI_E_REFERENCE:
    case OCI_E_AMBIGUOUS:
        return CUBBY_EARGUMENT;
    case OCI_E_NOT_FOUND:
        return CUBBY_EIMAGE_NOT_FOUND;
    case OCI_E_IN_USE:
        return CUBBY_ESTATE;
    default:
        return CUBBY_EIMAGE;
    }
}

int fail_err(struct cubby_error *out, int code, const struct err *e)
{
    bool of_image = e->code <= OCI_E_REFERENCE && e->code >= OCI_E_IN_USE;
    return fail(out, of_image ? code_of_image(e->code) : code_of(e->code, code), "%s", e->text);
}

int fail_copy(struct cubby_error *out, const struct cubby_error *from)
{
    if (out)
        *out = *from;
    return from->code;
}

const char *cubby_code_name(int code)
{
    static const char *const names[] = {
        [-CUBBY_OK] = "ok",
        [-CUBBY_EARGUMENT] = "bad-argument",
        [-CUBBY_ECONFIG] = "configuration",
        [-CUBBY_EIMAGE_NOT_FOUND] = "image-not-found",
        [-CUBBY_EIMAGE] = "image",
        [-CUBBY_ESTORAGE] = "storage",
        [-CUBBY_EKVM] = "no-usable-kvm",
        [-CUBBY_EBOOT] = "boot-failed",
        [-CUBBY_ESPAWN] = "spawn-failed",
        [-CUBBY_ENOTFOUND_CMD] = "command-not-found",
        [-CUBBY_ENOTEXEC_CMD] = "command-not-executable",
        [-CUBBY_ETIMEOUT] = "timeout",
        [-CUBBY_ESTOPPED] = "stopped",
        [-CUBBY_EGUEST_LOST] = "guest-lost",
        [-CUBBY_EPROTOCOL] = "protocol",
        [-CUBBY_ERESOURCE] = "resource-exhausted",
        [-CUBBY_EEXISTS] = "already-exists",
        [-CUBBY_ENOTFOUND] = "not-found",
        [-CUBBY_ESTATE] = "wrong-state",
        [-CUBBY_EAGAIN] = "again",
        [-CUBBY_ECLOSED] = "closed",
        [-CUBBY_EUNSUPPORTED] = "unsupported",
        [-CUBBY_EINTERNAL] = "internal",
        [-CUBBY_ENOTDIR] = "not-a-folder",
        [-CUBBY_EFILE] = "file",
        [-CUBBY_EGUEST_STORAGE] = "guest-storage",
    };
    if (code > 0 || code <= -(int)(sizeof(names) / sizeof(names[0])))
        return "unknown";
    return names[-code];
}

const char *cubby_version(void)
{
    return CUBBY_VERSION;
}
