/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A box's folder: a private, short-lived place for its sockets, its console and its temporary files.
 *
 *     $XDG_RUNTIME_DIR/cubby/<id>/   or   /tmp/cubby-<uid>/<id>/
 *         owner           who made it: pid, start time, pid namespace, boot
 *         vsock.sock      the VMM's side of virtio-vsock; vsock.sock_1024 is ours
 *         vmm.log         what the VMM wrote to stderr
 *         timeline.json   if asked for
 *         image, disk     symbolic links to a temporary image and to the box's disk elsewhere, if there are
 * any
 *
 * When the owner dies, the next one who makes a folder removes it.
 */
#ifndef CUBBY_RUNTIME_FOLDER_H
#define CUBBY_RUNTIME_FOLDER_H

#include "base/err.h"

#include <stddef.h>

#define BOX_ID_LEN       12
#define BOX_PATH_MAX     108 /* a folder's path with every name in it fits sun_path */
#define PLANNED_PATH_MAX 4096

struct box_folder {
    char id[BOX_ID_LEN + 1];
    char base[BOX_PATH_MAX]; /* the folder of all boxes */
    char path[BOX_PATH_MAX]; /* base/id; "" when there is no folder */
};

/*
 * The folder of all boxes, made if need be: private to this user, on whatever XDG_RUNTIME_DIR says if that is
 * a folder that we may write to, else in /tmp. -ENAMETOOLONG when sockets in it would have too long a path;
 * -EPERM when somebody else owns it; ….
 */
int folder_base(char base[BOX_PATH_MAX], struct err *e);

/* Makes a folder with a fresh id and notes this process as its owner, after removing those of dead owners. */
int folder_create(struct box_folder *f, struct err *e);
/* Removes it with all that is in it, and the image. Safe on a zeroed one and twice. */
void folder_remove(struct box_folder *f);

/* "<folder>/<name>" in `out`; `name` is one of the above and always fits. */
void folder_file(const struct box_folder *f, const char *name, char out[BOX_PATH_MAX]);

/*
 * Make an empty private file for a temporary image in $TMPDIR or /tmp, or for the box's disk in the folder
 * `dir`, and note it in the box's folder first, so that it is removed with it, by whomever.
 */
int folder_plan_image(struct box_folder *f, char out[PLANNED_PATH_MAX], struct err *e);
int folder_plan_disk(struct box_folder *f, const char *dir, char out[PLANNED_PATH_MAX], struct err *e);

/* Removes what an earlier life of the box has left: its VMM's sockets, log and timeline. */
void folder_refresh(const struct box_folder *f);

/* Removes the folders below `base` whose owner is dead. */
void folder_sweep(const char *base);

#endif
