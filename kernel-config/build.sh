#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the guest's kernel and puts it into DEST, or takes it from the cache.
#
# Theory of operation: the fragments beside this script are merged into one list, every
# option not in it is "no" (allnoconfig), and the result is compared with the list, because
# Kconfig drops silently what it cannot satisfy. The cache key is the hash of everything that
# the result depends on: fragments, this script, source, compiler, linker. A result is made
# under a lock in a temporary folder beside the cache and renamed into place when complete,
# so that a reader never sees half of one and two builds at once do the work once.
set -euo pipefail
export LC_ALL=C

# The project's compiler, flags and job server are not the kernel's.
unset CC LD CFLAGS CPPFLAGS LDFLAGS MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL ARCH CROSS_COMPILE
unset KCFLAGS KCPPFLAGS KAFLAGS KBUILD_OUTPUT O V

# Roughly how many lines `make` prints; only the progress display depends on it.
readonly EXPECTED_STEPS=1500
readonly SOURCE_PACKAGE=linux-source-6.12

here=$(dirname "$(readlink -f "$0")")
source_tar=${CUBBY_KERNEL_SOURCE:-/usr/src/$SOURCE_PACKAGE.tar.xz}
cache=${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/cubby/kernel
without=
mode=build
dest=

usage() {
	cat <<-END
	Usage: kernel-config/build.sh [--without FRAGMENT]... DEST
	       kernel-config/build.sh [--without FRAGMENT]... --hash

	Puts vmlinux, bzImage and kernel.config into the folder DEST, from the cache
	(\${XDG_CACHE_HOME:-~/.cache}/cubby/kernel) or by building them.

	  --without FRAGMENT  leave out FRAGMENT.config (smp: a kernel for one vCPU)
	  --hash              print the cache key and exit

	CUBBY_KERNEL_SOURCE   source archive (default: /usr/src/$SOURCE_PACKAGE.tar.xz)
	END
}

say() { printf 'kernel: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

parse_args() {
	while (($#)); do
		case $1 in
		--without)
			[[ -f $here/${2-}.config ]] || die "--without ${2-}: no fragment $here/${2-}.config"
			without+=" $2"
			shift ;;
		--hash) mode="hash" ;;
		-h | --help) usage; exit 0 ;;
		-*) usage >&2; exit 2 ;;
		*) dest=$1 ;;
		esac
		shift
	done
	[[ $mode == hash || -n $dest ]] || { usage >&2; exit 2; }
}

# One missing tool a line, with the Debian package that has it.
check_tools() {
	local tool package missing=
	while read -r tool package; do
		command -v "$tool" >/dev/null || missing+=" $package"
	done <<-END
	gcc gcc
	make make
	flex flex
	bison bison
	bc bc
	xz xz-utils
	gzip gzip
	perl perl
	END
	# objtool, which the CPU mitigations need, links with libelf
	echo '#include <libelf.h>' | gcc -E - >/dev/null 2>&1 || missing+=" libelf-dev"
	[[ -z $missing ]] || die "cannot build: missing Debian packages:$missing (try: make deps)"
	[[ -r $source_tar ]] || die "cannot build: no source at $source_tar (Debian package $SOURCE_PACKAGE; try: make deps)"
}

fragments() {
	local f
	for f in "$here"/*.config; do
		[[ " $without " == *" $(basename "$f" .config) "* ]] || printf '%s\n' "$f"
	done
}

# Fragments without their comments: OPTION=value a line. A line that is neither an option
# nor a comment is an error, not something to skip.
merged_options() {
	local files
	mapfile -t files < <(fragments)
	awk '
		/^[ \t]*(#|$)/ { next }
		match($0, /^CONFIG_[A-Za-z0-9_]+=("[^"]*"|[^ \t#"]+)/) {
			option = substr($0, 1, RLENGTH); rest = substr($0, RLENGTH + 1)
			name = option; sub(/=.*/, "", name)
			if (rest ~ /^[ \t]*(#.*)?$/ && !(name in seen)) {
				seen[name] = 1; print option; next
			}
			if (name in seen) { printf "kernel: %s:%d: %s is set twice\n", FILENAME, FNR, name > "/dev/stderr"; exit 1 }
		}
		{ printf "kernel: %s:%d: not an option: %s\n", FILENAME, FNR, $0 > "/dev/stderr"; exit 1 }
	' "${files[@]}"
}

source_id() {
	local version
	if [[ -z ${CUBBY_KERNEL_SOURCE-} ]] &&
		version=$(dpkg-query -W -f '${Version}' "$SOURCE_PACKAGE" 2>/dev/null) && [[ -n $version ]]; then
		echo "$SOURCE_PACKAGE $version"
	else
		sha256sum <"$source_tar"
	fi
}

cache_key() {
	local options
	options=$(merged_options) || exit 1
	{
		source_id
		gcc --version | head -n 1
		ld --version | head -n 1
		sort <<<"$options"
		declare -f unpack build_in # the recipe; how progress is shown does not matter
	} | sha256sum | cut -c 1-16
}

# Reads make's output, shows how far it is: one changing line on a terminal, else a line
# each few hundred steps.
progress() {
	local n=0 line
	while IFS= read -r line; do
		# "  CC  file.o" is a step; anything else is talk
		[[ $line == '  '[A-Z]* ]] || continue
		n=$((n + 1))
		if [[ -t 2 ]]; then
			((n % 5)) || printf '\rkernel: %d of about %d steps, %d s \033[K' "$n" "$EXPECTED_STEPS" "$SECONDS" >&2
		else
			((n % 300)) || say "$n of about $EXPECTED_STEPS steps, $SECONDS s"
		fi
	done
	[[ ! -t 2 ]] || printf '\r\033[K' >&2
}

# Only what an x86 kernel without modules can need: the whole tree is 1.6 GB, this a quarter.
# Kconfig and make files stay everywhere, since the tree refers to all of them.
unpack() {
	local top dir skip=()
	top=$(tar -tJf "$source_tar" 2>/dev/null | head -n 1) || true
	top=${top%%/*}
	for dir in samples sound tools/testing tools/perf rust \
		drivers/{accel,gpu/drm,infiniband,media,net/ethernet,net/wireless,scsi,staging,usb} \
		arch/{alpha,arc,arm,arm64,csky,hexagon,loongarch,m68k,microblaze,mips,nios2,openrisc} \
		arch/{parisc,powerpc,riscv,s390,sh,sparc,um,xtensa}; do
		skip+=(--exclude="$top/$dir/*.[chS]" --exclude="$top/$dir/*.dts*")
	done
	skip+=(--exclude="$top/Documentation/*.rst" --exclude="$top/Documentation/*.yaml")
	tar -xJf "$source_tar" -C "$1" --strip-components=1 --no-same-owner \
		--anchored --wildcards --wildcards-match-slash "${skip[@]}"
}

# Kconfig drops silently what it cannot satisfy; here that is an error which names it.
verify_config() {
	local option name value got lost=0
	while IFS= read -r option; do
		name=${option%%=*} value=${option#*=}
		got=$(sed -n "s/^$name=//p" "$1/.config")
		[[ ${got:-n} == "$value" ]] && continue
		say "$name is ${got:-n} in the result, but a fragment asks for $value (a dependency is missing, or another option selects it)"
		lost=1
	done <"$1/wanted"
	return $lost
}

# The VMM maps the segments from the file, so each must lie in the file as it lies in
# memory, modulo 2 MiB; and the PVH entry must be there.
verify_vmlinux() {
	local kind offset address rest n=0
	while read -r kind offset address rest; do
		[[ $kind == LOAD ]] || continue
		n=$((n + 1))
		(((offset - address) % 0x200000 == 0 && ${rest##* } == 0x200000)) ||
			{ say "the segment at $address lies at $offset in $1: not 2 MiB aligned"; return 1; }
	done < <(readelf -lW "$1")
	((n)) || { say "$1 has no segments"; return 1; }
	[[ $(readelf -nW "$1" 2>/dev/null) == *Xen* ]] || { say "$1 has no PVH entry note"; return 1; }
}

# `set -e` does not hold here (called in a condition): each step says what its failure does.
build_in() {
	local tmp=$1 out=$1/out result=$1/result
	mkdir "$tmp/src" "$out" "$result" || return
	say "unpacking $source_tar"
	unpack "$tmp/src" || return
	merged_options >"$out/wanted" || return
	local run=(make -C "$tmp/src" O="$out" -j"$(nproc)"
		KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 1970' KBUILD_BUILD_VERSION=1
		KBUILD_BUILD_USER=cubby KBUILD_BUILD_HOST=cubby)
	say "building with $(nproc) jobs (some minutes, once; cached afterwards)"
	"${run[@]}" KCONFIG_ALLCONFIG="$out/wanted" allnoconfig >"$result/build.log" 2>&1 || return
	verify_config "$out" || return
	"${run[@]}" vmlinux bzImage 2>&1 | tee -a "$result/build.log" | progress || return
	strip --strip-debug -o "$result/vmlinux" "$out/vmlinux" || return
	verify_vmlinux "$result/vmlinux" || return
	cp "$out/arch/x86/boot/bzImage" "$result/bzImage" || return
	cp "$out/.config" "$result/config" || return
	chmod 644 "$result"/* || return
}

make_result() {
	local key=$1 tmp
	mkdir -p "$cache"
	exec 9>"$cache/lock"
	if ! flock -n 9; then
		say "waiting for another build ($cache/lock)"
		flock 9
	fi
	[[ ! -d $cache/$key ]] || return 0 # the other build made it
	check_tools
	# Holding the lock, whatever temporary folder there is belongs to a build that was killed.
	rm -rf "$cache"/tmp.*
	tmp=$(mktemp -d "$cache/tmp.XXXXXX")
	# shellcheck disable=SC2064  # expand now: tmp is local
	trap "rm -rf '$tmp'" EXIT
	if ! build_in "$tmp"; then
		mkdir -p "$cache/failed"
		cp "$tmp/result/build.log" "$cache/failed/build.log" 2>/dev/null || : >"$cache/failed/build.log"
		tail -n 30 "$cache/failed/build.log" >&2
		die "build failed; what came before is the end of $cache/failed/build.log"
	fi
	chmod 755 "$tmp/result"
	mv -T "$tmp/result" "$cache/$key"
	say "built in $SECONDS s"
}

# By rename: a running VMM may have the old file mapped.
install_file() {
	local tmp
	tmp=$(mktemp "$2.XXXXXX")
	cp "$1" "$tmp"
	chmod 644 "$tmp"
	mv -f "$tmp" "$2"
}

parse_args "$@"
key=$(cache_key)
if [[ $mode == hash ]]; then
	echo "$key"
	exit 0
fi
[[ -d $cache/$key ]] || make_result "$key"
mkdir -p "$dest"
install_file "$cache/$key/bzImage" "$dest/bzImage"
install_file "$cache/$key/config" "$dest/kernel.config"
install_file "$cache/$key/vmlinux" "$dest/vmlinux"
say "$dest/vmlinux ready ($key)"
