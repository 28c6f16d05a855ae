/* @MODEL@ for @PLATFORM@ (@CPU@): the functions of pconv.h as lib@NAME@.a calls them.

   The static library's functions begin with "@NAME@_", so that a program may hold several models. The shared
   library's are those of pconv.h itself: load it with dlopen, or link one of them. */
#ifndef PCONV_@UPPER@_H
#define PCONV_@UPPER@_H

#include "pconv.h"

/* Floats of each input and output, in order. */
#define @UPPER@_INPUT_ELEMS {@INPUT_ELEMS@}
#define @UPPER@_OUTPUT_ELEMS {@OUTPUT_ELEMS@}

#ifdef __cplusplus
extern "C" {
#endif

@FUNCTIONS@

#ifdef __cplusplus
}
#endif
#endif
