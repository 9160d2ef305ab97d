# The lab: what lab/run needs is made and cached by lab/prepare, outside build/, so that a clean clone has it too.

LAB_RUN := lab/run

.PHONY: lab
lab: ## prepare the lab: fetch Debian's kernel (once), make its initrd
	$(Q)$(LAB_RUN) --prepare
