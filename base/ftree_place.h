/* SPDX-License-Identifier: Apache-2.0 */
/* Inside base/ftree_write.c: where the root of a tree goes. */
#ifndef CUBBY_BASE_FTREE_PLACE_H
#define CUBBY_BASE_FTREE_PLACE_H

#include "base/ftree.h"

struct ftree_place {
    int folder;                    /* owned: that holds the root; or, with `merge`, is it. -1 */
    char name[FTREE_NAME_MAX + 1]; /* of the root in `folder`; "" with `merge` */
    bool merge;                    /* the root's content goes into a folder that was there */
    bool inside;                   /* `folder` is the target's path, not what is in front of its last name */
};

/* Decides by the rules of struct ftree_target for a root that is a folder or is none. 0 or a negative errno
 * with the path in *e. */
int ftree_place_find(struct ftree_place *p, const struct ftree_target *to, bool root_is_folder,
                     struct err *e);

#endif
