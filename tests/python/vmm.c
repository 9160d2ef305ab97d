/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cubby-vmm for the tests of the Python package, without KVM: the real agent as an ordinary process
 * (tests/runtime/agent_vmm.h), or with $FAKE_VMM set the double that fails as it says (fake_vmm.h).
 */
#include "tests/runtime/agent_vmm.h"

int main(int argc, char **argv)
{
    (void)argc;
    if (getenv("FAKE_VMM") || (argv[1] && strcmp(argv[1], "--probe") == 0))
        return fake_vmm_main(argv);
    int code = agent_vmm_main(argv);
    fflush(NULL);
    _exit(code);
}
