# For pkgs.callPackage. The address stands for wherever packaging/release has published the source. A release has this file
# with its version and hash.
{
  lib,
  rustPlatform,
  fetchurl,
  runtimeShell,
}:

rustPlatform.buildRustPackage rec {
  pname = "ntpfront";
  version = "0.1.0";

  src = fetchurl {
    url = "https://ntpfront.example/${version}/ntpfront-${version}.tar.gz";
    hash = lib.fakeHash;
  };
  # The file of the source tree: crates are fetched one by one, by their own checksums.
  cargoLock.lockFile = ./Cargo.lock;

  # The tests take root and the real servers of other projects.
  doCheck = false;

  postInstall = ''
    cargo run --frozen --release --example documents -- documents
    install -D -m 644 -t $out/share/man/man8 documents/ntpfront.8
    install -D -m 644 -t $out/share/man/man5 documents/ntpfront.toml.5
    install -D -m 644 documents/ntpfront.bash $out/share/bash-completion/completions/ntpfront
    install -D -m 644 documents/ntpfront.fish $out/share/fish/vendor_completions.d/ntpfront.fish
    install -D -m 644 documents/_ntpfront $out/share/zsh/site-functions/_ntpfront
    install -D -m 644 -t $out/share/doc/ntpfront config/ntpfront.toml documents/doc/*.md
    # For systemd.packages; the user and the configuration are the system's.
    install -D -m 644 -t $out/lib/systemd/system systemd/ntpfront.service systemd/ntpfront.socket
    substituteInPlace $out/lib/systemd/system/ntpfront.service --replace-fail /usr/sbin/ntpfront $out/bin/ntpfront \
      --replace-fail /bin/sh ${runtimeShell}
  '';

  meta = {
    description = "NTP server that fronts several upstream servers, on every core";
    homepage = "https://ntpfront.example";
    license = lib.licenses.gpl2Plus;
    platforms = [
      "x86_64-linux"
      "aarch64-linux"
    ];
    mainProgram = "ntpfront";
  };
}
