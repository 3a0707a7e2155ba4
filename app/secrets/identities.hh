// Identities and their passphrases, wherever people keep them.
//
// An identity is given as the path of an identity file, as age-keygen writes it, or sealed with a
// passphrase (`age -p`, binary or armored); or as "-": then the line AGE-SECRET-KEY-1... is asked
// for at the terminal, unseen. Where none is given, the service manager's credential of that name
// is taken, if there is one (systemd's LoadCredential=).
//
// A passphrase comes from the file that a variable names, else from a credential, else from
// whoever sits at the terminal, who has three attempts. Never from the command line or a variable.
//
// What is read lies in memory that is wiped, locked and kept out of dumps; no message quotes it.
#pragma once

#include "engine/age/x25519.hh"
#include "engine/environment.hh"
#include "engine/reactor.hh"
#include "engine/result.hh"
#include "engine/secret_string.hh"
#include "engine/stop.hh"
#include "engine/task.hh"

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::app {

inline constexpr std::string_view passphrase_file_variable = "BTRFS_TO_S3_IDENTITY_PASSPHRASE_FILE";
inline constexpr std::string_view credentials_variable =
    "CREDENTIALS_DIRECTORY";  // systemd.exec(5)
inline constexpr std::string_view identity_credential = "identity";
inline constexpr std::string_view passphrase_credential = "identity_passphrase";
inline constexpr std::string_view asked_for = "-";  // in place of a path

// What reading them takes. `loop` must outlive the tasks that get it.
struct secret_access {
  secret_access(engine::reactor& on, engine::stop_token until, engine::environment_lookup where)
      : loop(on), stop(until), environment(std::move(where)) {}

  engine::reactor& loop;
  engine::stop_token stop;  // ends questions with `cancelled`
  engine::environment_lookup environment;
};

// Those at all of `places`, in that order, at least one; where there is no place, the credential's.
// Opening a sealed one takes about a second and 256 MiB, on a thread of its own.
[[nodiscard]] engine::task<engine::result<std::vector<age::x25519_identity>>> read_identities(
    secret_access with, std::vector<std::string> places);

// The recipients that `place` stands for: itself, where it is one; those of a file of recipients,
// which nobody else may write to; those of the identities there.
[[nodiscard]] engine::task<engine::result<std::vector<age::x25519_recipient>>> recipients_at(
    secret_access with, std::string place);

// Whether read_identities() would find one without a place: there is a credential.
[[nodiscard]] bool identity_is_at_hand(const engine::environment_lookup& environment);

// A passphrase that is at hand without asking; nullopt where there is none. Its first line, without
// the line's end; blanks belong to it.
[[nodiscard]] engine::result<std::optional<engine::secret_string>> passphrase_at_hand(
    const engine::environment_lookup& environment);

}  // namespace bts3::app
