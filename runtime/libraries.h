/* SPDX-License-Identifier: Apache-2.0 */
/* The shared libraries that are loaded when they are needed (base/lazy.h): is this host without one? */
#ifndef CUBBY_RUNTIME_LIBRARIES_H
#define CUBBY_RUNTIME_LIBRARIES_H

#include "cubby.h"

/*
 * Loads what pulls, loads and saves of images call. Before the first of these calls: a stub that finds no
 * library can only end the program. 0, or CUBBY_ECONFIG with the name of what is missing.
 */
int libraries_load(struct cubby_error *error);

#endif
