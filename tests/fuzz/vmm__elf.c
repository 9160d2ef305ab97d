/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an ELF kernel, mapped and copied. */
#include "tests/fuzz/kernel_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    load_as_kernel(data, len, BOOT_LINUX, false);
    load_as_kernel(data, len, BOOT_LINUX, true);
    return 0;
}
