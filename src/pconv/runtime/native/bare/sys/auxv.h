#include "../bare.h"
