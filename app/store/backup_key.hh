// What opens the parts of one sealed backup.
#pragma once

#include "engine/age/part_stanza.hh"
#include "engine/age/sealed_part.hh"
#include "engine/age/x25519.hh"

#include <utility>

namespace bts3::app {

struct backup_key {
  backup_key(const age::backup_id& of, age::x25519_identity its) : id(of), opener(std::move(its)) {}
  age::backup_id id;
  age::part_opener opener;
};

}  // namespace bts3::app
