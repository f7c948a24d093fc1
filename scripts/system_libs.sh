#!/usr/bin/env bash
# Find out which system libraries that Qt and OpenGL need are missing, and install them if that is possible.
#
# Pip cannot install these: Qt's X11 plugin and vispy load them from the system. Without a display an X server without
# a screen (Xvfb) is needed as well. Debian and Ubuntu: installed by apt-get as root or where sudo asks no password,
# otherwise named together with the command to run. Elsewhere: named. Nothing is done on macOS and Windows.
set -euo pipefail

[ "$(uname -s)" = Linux ] || exit 0

# library (or what stands for it) -> Debian package
needed="
libEGL.so.1                 libegl1
libGL.so.1                  libgl1
libOpenGL.so.0              libopengl0
libdbus-1.so.3              libdbus-1-3
libfontconfig.so.1          libfontconfig1
libfreetype.so.6            libfreetype6
libglib-2.0.so.0            libglib2.0-0
libX11.so.6                 libx11-6
libX11-xcb.so.1             libx11-xcb1
libxcb.so.1                 libxcb1
libxcb-cursor.so.0          libxcb-cursor0
libxcb-icccm.so.4           libxcb-icccm4
libxcb-image.so.0           libxcb-image0
libxcb-keysyms.so.1         libxcb-keysyms1
libxcb-randr.so.0           libxcb-randr0
libxcb-render.so.0          libxcb-render0
libxcb-render-util.so.0     libxcb-render-util0
libxcb-shape.so.0           libxcb-shape0
libxcb-shm.so.0             libxcb-shm0
libxcb-sync.so.1            libxcb-sync1
libxcb-util.so.1            libxcb-util1
libxcb-xfixes.so.0          libxcb-xfixes0
libxcb-xinerama.so.0        libxcb-xinerama0
libxcb-xkb.so.1             libxcb-xkb1
libxkbcommon.so.0           libxkbcommon0
libxkbcommon-x11.so.0       libxkbcommon-x11-0
"

export PATH="$PATH:/usr/sbin:/sbin"
known=$(ldconfig -p 2>/dev/null || true)

has_library() {
  grep -q "[[:space:]]$1 " <<<"$known" && return 0
  local folder
  for folder in /lib /usr/lib /lib64 /usr/lib64 /usr/local/lib /lib/*-linux-gnu /usr/lib/*-linux-gnu \
                ${LD_LIBRARY_PATH:+${LD_LIBRARY_PATH//:/ }}; do
    [ -e "$folder/$1" ] && return 0
  done
  return 1
}

has_software_gl() {  # Mesa's drivers are plugins, no library of a fixed name
  local file
  for file in /usr/lib/*/dri/*_dri.so /usr/lib/dri/*_dri.so /usr/lib64/dri/*_dri.so /usr/lib/*/libgallium*.so; do
    [ -e "$file" ] && return 0
  done
  return 1
}

missing=() packages=()
find_missing() {
  missing=() packages=()
  local library package
  while read -r library package; do
    [ -n "$library" ] || continue
    has_library "$library" || { missing+=("$library"); packages+=("$package"); }
  done <<<"$needed"
  if [ -z "${DISPLAY:-}" ] && [ -z "${WAYLAND_DISPLAY:-}" ]; then
    command -v Xvfb >/dev/null 2>&1 || { missing+=("Xvfb"); packages+=(xvfb); }
    has_software_gl || { missing+=("Mesa's software OpenGL"); packages+=(libgl1-mesa-dri); }
  fi
}

find_missing
[ ${#missing[@]} -gt 0 ] || exit 0
echo "Missing system libraries: ${missing[*]}"

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then as_root=(sudo -n); else as_root=(no); fi
fi

if command -v apt-get >/dev/null 2>&1 && [ "${as_root[*]-}" != no ]; then
  echo "Installing: ${packages[*]}"
  # An old list of packages is a reason to go on and see; the check below has the last word.
  ${as_root[@]+"${as_root[@]}"} apt-get update -qq || true
  ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null || true
  known=$(ldconfig -p 2>/dev/null || true)
  find_missing
  [ ${#missing[@]} -gt 0 ] || exit 0
fi

{
  echo "error: these system libraries are missing and could not be installed: ${missing[*]}"
  if command -v apt-get >/dev/null 2>&1; then
    echo "Run:  sudo apt-get update && sudo apt-get install --no-install-recommends ${packages[*]}"
  else
    echo "Install them with this system's package manager (Debian calls their packages: ${packages[*]})."
  fi
} >&2
exit 1
