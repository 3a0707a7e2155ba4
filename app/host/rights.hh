// What to say to a user who is not root where the system refused something for that reason.
#pragma once

#include "engine/error.hh"

#include <sys/types.h>

namespace bts3::app {

// `failure` with "run this as root" for its remedy, when `user` is not root and it is a system
// call's EACCES or EPERM: another place, the usual remedy, is a wrong one then.
engine::error for_user(engine::error failure, uid_t user);

}  // namespace bts3::app
