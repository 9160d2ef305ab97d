# What tests need beside programs: a registry's data with images of Debian's packages. Made by the network, once; a test
# that needs it fails without it.

.PHONY: python-registry
python-registry: build/python-registry
build/python-registry: tests/lab/python-image
	@tests/lab/python-image $@
