// What a process is put into order for before it does anything, whoever started it and however.
#pragma once

namespace bts3::app {

// Standard descriptors that the caller has closed are opened, so that no other file gets their
// numbers and with them what is printed; using them fails as before. No core dump of this process
// is made, since its memory has keys and payload, and no other user's process may trace it.
// Memory that cannot be had ends the program with a message. To be called first.
void prepare_process();

}  // namespace bts3::app
