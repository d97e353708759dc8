package transport

// solLocal is the level of LOCAL_PEERCRED.
const solLocal = 0
